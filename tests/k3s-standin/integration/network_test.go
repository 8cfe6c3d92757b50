package integration

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// network is a switch between machines. It is a namespace with a bridge and no way out.
type network struct {
	t        *testing.T
	k3s      string
	pid      int
	machines []*machine
}

const makeSwitch = `set -eu
ip link add switch0 type bridge
ip link set switch0 up
echo ready
exec sleep infinity
`

// makeMachine readies a machine; $1 is a folder of its own, $2 its name, $3 its address.
const makeMachine = `set -eu
hostname "$2"
mount -t tmpfs tmpfs "$1"
for dir in /etc /var/lib; do
	work="$1/$(echo "$dir" | tr / _)"
	mkdir -p "$work/upper" "$work/work"
	mount -t overlay overlay -o "lowerdir=$dir,upperdir=$work/upper,workdir=$work/work" "$dir"
done
mount -t tmpfs tmpfs /run
rm -rf /etc/rancher /var/lib/rancher
mkdir -p /etc/rancher/k3s
echo ready
exec sleep infinity
`

// plug connects a machine; $1 is its process, $2 its number, $3 its address. Run in the switch.
const plug = `set -eu
ip link add "port$2" type veth peer name host0 netns "$1"
ip link set "port$2" master switch0
ip link set "port$2" up
nsenter --target "$1" --net -- sh -c "ip link set lo up; ip address add $3/24 dev host0; ip link set host0 up; ip route add default via 192.0.2.254"
`

// newNetwork makes the switch; it says so when it skips the test.
func newNetwork(t *testing.T) *network {
	t.Helper()
	k3s := os.Getenv("K3S")
	if k3s == "" {
		t.Skip("SKIPPED: K3S does not name the program to try")
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root for namespaces")
	}
	for _, tool := range []string{"unshare", "nsenter", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: there is no %s", tool)
		}
	}
	k3s, err := filepath.Abs(k3s)
	if err != nil {
		t.Fatal(err)
	}
	n := &network{t: t, k3s: k3s}
	n.pid = hold(t, []string{"--net"}, makeSwitch)
	return n
}

// hold starts a process that keeps namespaces alive, and returns its number when it is ready.
func hold(t *testing.T, flags []string, script string, args ...string) int {
	t.Helper()
	words := append(append(flags, "--", "sh", "-c", script, "sh"), args...)
	cmd := exec.Command("unshare", words...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("no namespaces: %q, %v", line, err)
	}
	return cmd.Process.Pid
}

// machine adds a machine with that name.
func (n *network) machine(name string) *machine {
	n.t.Helper()
	number := len(n.machines) + 1
	m := &machine{t: n.t, k3s: n.k3s, name: name, address: fmt.Sprintf("192.0.2.%d", number),
		dir: n.t.TempDir()}
	m.pid = hold(n.t, []string{"--mount", "--net", "--uts", "--propagation", "private"}, makeMachine, n.t.TempDir(), name)
	cmd := exec.Command("nsenter", "--target", strconv.Itoa(n.pid), "--net", "--", "sh", "-c", plug, "sh",
		strconv.Itoa(m.pid), strconv.Itoa(number), m.address)
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Fatalf("connecting %s: %v\n%s", name, err, out)
	}
	n.machines = append(n.machines, m)
	n.t.Cleanup(m.close)
	return m
}

// dial connects from within the machine's network.
func (m *machine) dial(ctx context.Context, kind, address string) (net.Conn, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err != nil {
		return nil, err
	}
	defer home.Close()
	there, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", m.pid))
	if err != nil {
		return nil, err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	conn, failed := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, kind, address)
	if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
		panic(err) // this thread would go on in a foreign network
	}
	return conn, failed
}

// path is where a file of the machine is seen from here.
func (m *machine) path(file string) string {
	return filepath.Join("/proc", strconv.Itoa(m.pid), "root", file)
}

// read reads a file of the machine; a missing one is empty.
func (m *machine) read(file string) string {
	data, _ := os.ReadFile(m.path(file))
	return string(data)
}

// write writes a file of the machine, whole or not at all.
func (m *machine) write(file, text string) {
	m.t.Helper()
	name := m.path(file)
	err := os.MkdirAll(filepath.Dir(name), 0o700)
	if err == nil {
		err = os.WriteFile(name+".new", []byte(text), 0o600)
	}
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// inside is a command in the machine.
func (m *machine) inside(ctx context.Context, words ...string) *exec.Cmd {
	args := append([]string{"--target", strconv.Itoa(m.pid), "--mount", "--net", "--uts", "--"}, words...)
	return exec.CommandContext(ctx, "nsenter", args...)
}

// shell runs shell text in the machine, which must succeed.
func (m *machine) shell(text string) string {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := m.inside(ctx, "sh", "-euc", text).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s: %s: %v\n%s", m.name, text, err, out)
	}
	return strings.TrimSpace(string(out))
}
