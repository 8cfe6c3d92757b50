// Package integration tries the built program as a whole on one machine: each test has its own host name, network,
// /etc, /var/lib and /run (namespaces of Linux, so root is needed) and leaves nothing behind. K3S names the program.
// Several nodes and systemd are the business of the conformance suite.
package integration

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// machine is one pretended machine with a server on it.
type machine struct {
	t    *testing.T
	k3s  string
	pid  int
	log  string
	done chan error
}

// enter makes the machine and becomes the server; $1 is a folder, $2 the program.
const enter = `set -eu
hostname n1
ip link set lo up
ip link add host0 type veth peer name away0
ip link set away0 up
ip address add 192.0.2.1/24 dev host0
ip link set host0 up
ip route add default via 192.0.2.254
mount -t tmpfs tmpfs "$1"
for dir in /etc /var/lib; do
	work="$1/$(echo "$dir" | tr / _)"
	mkdir -p "$work/upper" "$work/work"
	mount -t overlay overlay -o "lowerdir=$dir,upperdir=$work/upper,workdir=$work/work" "$dir"
done
mount -t tmpfs tmpfs /run
rm -rf /etc/rancher /var/lib/rancher
exec "$2" server --cluster-init --token integration --disable traefik --disable metrics-server --disable coredns
`

// start starts a server and waits until its node is ready; it says so when it skips.
func start(t *testing.T) *machine {
	t.Helper()
	k3s := os.Getenv("K3S")
	if k3s == "" {
		t.Skip("SKIPPED: K3S does not name the program to try")
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root for namespaces")
	}
	k3s, err := filepath.Abs(k3s)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	m := &machine{t: t, k3s: k3s, log: filepath.Join(t.TempDir(), "k3s.log"), done: make(chan error, 1)}
	log, err := os.Create(m.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("unshare", "--mount", "--net", "--uts", "--propagation", "private", "--", "sh", "-c", enter, "sh", dir, k3s)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m.pid = cmd.Process.Pid
	go func() { m.done <- cmd.Wait() }()
	t.Cleanup(m.stop)
	m.await("a ready node", 2*time.Minute, func() bool {
		out, err := m.try("get", "nodes", "--no-headers")
		return err == nil && strings.Contains(out, " Ready ")
	})
	return m
}

func (m *machine) stop() {
	_ = syscall.Kill(m.pid, syscall.SIGTERM)
	select {
	case <-m.done:
	case <-time.After(20 * time.Second):
		_ = syscall.Kill(m.pid, syscall.SIGKILL)
		m.t.Error("the server did not stop within 20 s of SIGTERM")
	}
	if m.t.Failed() {
		data, _ := os.ReadFile(m.log)
		m.t.Logf("the end of the server's log:\n%s", data[max(0, len(data)-4000):])
	}
}

// try runs kubectl on the machine and returns its output; errors are the caller's business.
func (m *machine) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	words := append([]string{"--target", strconv.Itoa(m.pid), "--mount", "--net", "--uts", "--", m.k3s, "kubectl"}, args...)
	cmd := exec.CommandContext(ctx, "nsenter", words...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// kubectl runs kubectl, which must succeed.
func (m *machine) kubectl(args ...string) string {
	m.t.Helper()
	out, err := m.try(args...)
	if err != nil {
		m.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// apply applies a manifest that is given as text.
func (m *machine) apply(manifest string) {
	m.t.Helper()
	file := filepath.Join(m.t.TempDir(), "manifest.yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		m.t.Fatal(err)
	}
	m.kubectl("apply", "-f", file)
}

func (m *machine) await(what string, limit time.Duration, ok func() bool) {
	m.t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(200 * time.Millisecond) {
		select {
		case err := <-m.done:
			m.done <- err
			m.t.Fatalf("the server ended: %v", err)
		default:
		}
		if time.Now().After(end) {
			m.t.Fatalf("not within %v: %s", limit, what)
		}
	}
}
