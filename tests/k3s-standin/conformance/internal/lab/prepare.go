package lab

import (
	_ "embed"
	"fmt"
	"os"
	"strings"
	"time"
)

//go:embed node/k3s.service
var serverUnit string

//go:embed node/eraw
var eraw []byte

//go:embed node/firststart.sh
var firstStart []byte

// tools are what the recorded commands call beyond what a node has.
var tools = map[string]string{"jq": "jq", "curl": "curl", "etcdctl": "etcd-client", "openssl": "openssl"}

// Prepare makes a node ready for K3s: the binary with its links, units, helpers of the recordings, tools.
func (n *Node) Prepare(k3s string) error {
	binary, err := os.ReadFile(k3s)
	if err != nil {
		return err
	}
	var missing []string
	for tool, pkg := range tools {
		if r, err := n.Run("command -v "+tool, time.Minute); err != nil || r.Exit != 0 {
			missing = append(missing, pkg)
		}
	}
	if len(missing) > 0 {
		install := "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "
		if _, err := n.Must(install+strings.Join(missing, " ")+" >&2", 10*time.Minute); err != nil {
			return err
		}
	}
	if err := n.Reset(); err != nil {
		return err
	}
	agentUnit := strings.ReplaceAll(serverUnit, "k3s server", "k3s agent")
	agentUnit = strings.ReplaceAll(agentUnit, "k3s.service.env", "k3s-agent.service.env")
	for _, file := range []struct {
		path    string
		content []byte
		mode    string
	}{
		{"/usr/local/bin/k3s", binary, "755"},
		{"/etc/systemd/system/k3s.service", []byte(serverUnit), "644"},
		{"/etc/systemd/system/k3s-agent.service", []byte(agentUnit), "644"},
		{"/usr/local/bin/eraw", eraw, "755"},
		{"/root/firststart.sh", firstStart, "644"},
	} {
		if err := n.Write(file.path, file.content, file.mode); err != nil {
			return err
		}
	}
	_, err = n.Must("for l in kubectl crictl ctr; do ln -sf k3s /usr/local/bin/$l; done; systemctl daemon-reload", time.Minute)
	return err
}

const reset = `systemctl stop k3s k3s-agent 2>/dev/null
for p in $(pgrep -x k3s); do kill -9 $p; done
systemctl reset-failed 2>/dev/null
umount /srv/small 2>/dev/null
rm -rf /var/lib/rancher /etc/rancher /var/lib/kubelet /run/k3s /run/k3s-standin /run/flannel /srv
mkdir -p /srv /var/lib/rancher /etc/rancher/k3s
journalctl -q --rotate; journalctl -q --vacuum-time=1s
true`

// Reset takes away all that K3s has left on the node.
func (n *Node) Reset() error {
	_, err := n.Must(reset, 2*time.Minute)
	return err
}

// Become gives the node the name it has in the recordings.
func (n *Node) Become(name string) error {
	command := fmt.Sprintf("echo %s >/etc/hostname; hostname %s; sed -i '/^127.0.1.1/d' /etc/hosts; echo '127.0.1.1 %s' >>/etc/hosts",
		name, name, name)
	_, err := n.Must(command, time.Minute)
	return err
}
