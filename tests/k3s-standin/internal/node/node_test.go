package node

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
)

func TestTheAnnotationsAreThoseThatWereRecorded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	text := "server: https://172.30.7.11:6443\ntoken: labtoken-0001\nkubelet-arg: [\"cgroup-root=/n4\",\"cgroups-per-qos=true\"]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("K3S_CONFIG_FILE", file)
	got := configAnnotations("agent", []string{"k3s", "agent"}, []string{"PATH=/bin", "K3S_STANDIN_RUN=/x"})
	for key, want := range map[string]string{
		"k3s.io/node-args":        `["agent","--server","https://172.30.7.11:6443","--token","********","--kubelet-arg","cgroup-root=/n4","--kubelet-arg","cgroups-per-qos=true"]`,
		"k3s.io/node-env":         "{}",
		"k3s.io/node-config-hash": "MBIHSPKEW4SEAA2VNGSIFJVQX5KE5JVBP2GZMTNEXNSI7OZGWKPQ====",
	} {
		if got[key] != want {
			t.Errorf("%s:\n got %s\nwant %s", key, got[key], want)
		}
	}
}

func TestTokensAreHiddenWhereverTheyStand(t *testing.T) {
	t.Setenv("K3S_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	_ = os.Unsetenv("K3S_CONFIG_FILE")
	argv := []string{"k3s", "agent", "--server", "https://s:6443", "--token", "secret1", "-t", "secret2", "--token=secret3", "-t=secret4"}
	got := configAnnotations("agent", argv, []string{"K3S_TOKEN=secret5", "K3S_URL=https://s:6443"})
	if text := got["k3s.io/node-args"] + got["k3s.io/node-env"]; strings.Contains(text, "secret") {
		t.Error(text)
	}
	if !strings.Contains(got["k3s.io/node-env"], `"K3S_URL":"https://s:6443"`) {
		t.Error(got["k3s.io/node-env"])
	}
}

func TestTheAgentsFilesHaveTheirRecordedSizesAndModes(t *testing.T) {
	dir := t.TempDir()
	p := paths.Data{Dir: dir}
	c := clusterConfig{ClusterCIDR: "10.42.0.0/16", FlannelBackend: "host-gw", ClusterDNS: "10.43.0.10", ClusterDomain: "cluster.local"}
	if err := writeFiles(p, c, "https://127.0.0.1:6444", 0o755); err != nil {
		t.Fatal(err)
	}
	longer := 4 * (len(dir) - len(paths.DefaultDataDir)) // the folder is named in a kubeconfig: CA, certificate, key
	longer = longer / 4 * 3
	for name, want := range map[string]struct {
		mode string
		size int
	}{
		"kubelet.kubeconfig": {"-rw-------", 461 + longer}, "kubeproxy.kubeconfig": {"-rw-------", 467 + longer},
		"k3scontroller.kubeconfig": {"-rw-------", 475 + longer}, "etc/crictl.yaml": {"-rw-------", 61},
		"etc/flannel/net-conf.json": {"-rw-r--r--", 134}, "etc/cni/net.d/10-flannel.conflist": {"-rw-r--r--", 406},
		"pod-manifests": {"drwxr-x---", 0}, "containerd": {"drwx------", 0},
	} {
		info, err := os.Stat(p.Agent(name))
		if err != nil {
			t.Error(err)
			continue
		}
		if info.Mode().String() != want.mode || want.size > 0 && int(info.Size()) != want.size {
			t.Errorf("%s: %v %d, want %v %d", name, info.Mode(), info.Size(), want.mode, want.size)
		}
	}
}

func TestANodePasswordIsMadeOnceAndOnlyItsHashIsKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "node", "password")
	first, err := ownPassword(file)
	if err != nil {
		t.Fatal(err)
	}
	second, err := ownPassword(file)
	if err != nil || first != second {
		t.Errorf("%q, %q, %v", first, second, err)
	}
	if info, err := os.Stat(file); err != nil || info.Size() != 33 || info.Mode() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	hash, err := hashOf(first, []byte("salt"))
	if err != nil || strings.Contains(hash, first) || !matches(hash, first) || matches(hash, first+"x") || matches("nonsense", first) {
		t.Errorf("%q %v", hash, err)
	}
}

// answering listens and answers every connection with its name.
func answering(t *testing.T, name string) (address string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, name)
			_ = conn.Close()
		}
	}()
	return l.Addr().String(), func() { _ = l.Close() }
}

func ask(t *testing.T, address string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatalf("the balancer itself refuses: %v", err)
	}
	defer conn.Close()
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

func TestTheBalancerGoesOnWithAnotherServer(t *testing.T) {
	old := logx.SetOutput(io.Discard)
	defer logx.SetOutput(old)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	one, stopOne := answering(t, "one")
	two, stopTwo := answering(t, "two")
	defer stopTwo()
	file := filepath.Join(t.TempDir(), "lb.json")
	b, err := startBalancer(ctx, "127.0.0.1:0", "https://"+one, file)
	if err != nil {
		t.Fatal(err)
	}
	address := b.listener.Addr().String()
	if got := ask(t, address); got != "one" {
		t.Errorf("before the list: %q", got)
	}
	b.Set([]string{two, one})
	stopOne()
	if got := ask(t, address); got != "two" {
		t.Errorf("after the first has gone: %q", got)
	}
	stopTwo()
	if got := ask(t, address); got != "" {
		t.Errorf("without any server: %q", got)
	}
	var stored balancerFile
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &stored)
	}
	if err != nil || len(stored.ServerAddresses) != 2 || stored.ServerURL != "https://"+one {
		t.Errorf("%s: %v", data, err)
	}
}

func TestTheBalancersFileHasItsRecordedForm(t *testing.T) {
	data, err := json.MarshalIndent(balancerFile{"https://172.30.7.12:6443", []string{"172.30.7.12:6443"}}, "", "  ")
	if err != nil || len(data) != 96 {
		t.Errorf("%d bytes: %s", len(data), data)
	}
}

func TestTaintsAreReadAsKubeletsDo(t *testing.T) {
	taints, err := taintsOf([]string{"a=b:NoSchedule", "c:NoExecute"})
	if err != nil || len(taints) != 2 || taints[0].Value != "b" || taints[1].Key != "c" {
		t.Errorf("%v %v", taints, err)
	}
	for _, wrong := range []string{"a=b", "a=b:Never", ":NoSchedule"} {
		if _, err := taintsOf([]string{wrong}); err == nil {
			t.Errorf("%s is taken", wrong)
		}
	}
}
