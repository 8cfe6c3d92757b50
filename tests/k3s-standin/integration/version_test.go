package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAnotherVersionIsARelink upgrades a server to the same program linked as another version.
func TestAnotherVersionIsARelink(t *testing.T) {
	const older, newer = "v1.32.2+k3s1", "v1.33.5+k3s1"
	n := newNetwork(t)
	// $K3S_NEWER saves the linking.
	other := os.Getenv("K3S_NEWER")
	if other == "" {
		torture(t, "half a minute and 2.5 GB of memory")
		other = filepath.Join(t.TempDir(), "k3s")
		begun := time.Now()
		if out, err := exec.Command("../build.sh", other, newer, "0123abcd").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Logf("linked anew in %.0f s", time.Since(begun).Seconds())
	}
	m := n.machine("n1")
	m.config("cluster-init: true\ntoken: integration\n" + fewer)
	for _, step := range []struct{ program, version string }{{n.k3s, older}, {other, newer}} {
		m.k3s = step.program
		if said := m.must("--version"); !strings.HasPrefix(said, "k3s version "+step.version+" (") {
			t.Errorf("--version: %s", said)
		}
		m.up()
		m.await("the node has version "+step.version, time.Minute, func() bool {
			out, err := m.try("get", "node", "n1", "-o", "jsonpath={.status.nodeInfo.kubeletVersion}")
			return err == nil && out == step.version
		})
		if said := m.kubectl("get", "--raw", "/version"); !strings.Contains(said, `"gitVersion": "`+step.version+`"`) {
			t.Errorf("/version: %s", said)
		}
		if !strings.Contains(m.log(), "Starting k3s "+step.version+" (") {
			t.Error("the log does not name the version")
		}
		if simulated := m.kubectl("get", "node", "n1", "-o", `jsonpath={.metadata.annotations.hmco-boot/simulated}`); simulated != "true" {
			t.Errorf("the node does not say that it is simulated: %q", simulated)
		}
		if step.version == older {
			m.kubectl("create", "configmap", "kept")
			if code := m.stop(); code != 0 {
				t.Errorf("status %d", code)
			}
		}
	}
	m.kubectl("get", "configmap", "kept")
	if said := m.kubectl("version"); !strings.Contains(said, "Client Version: "+newer) || !strings.Contains(said, "Server Version: "+newer) {
		t.Errorf("kubectl version: %s", said)
	}
}
