// Package lab brings up the nodes that commands run on, with `hmco-boot lab`, and runs commands on them over SSH as
// root. It knows nothing of K3s beyond the files that make a node ready for it.
package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// Lab is a set of nodes on this machine.
type Lab struct {
	// Program is the hmco-boot that makes it, Name what it is called, Dir the folder with all labs.
	Program, Name, Dir string
	sockets            string
	nodes              []*Node
}

// Up brings up a number of nodes; those that are up already stay as they are.
func Up(program, name, dir string, count int) (*Lab, error) {
	l := &Lab{Program: program, Name: name, Dir: dir}
	if err := l.run("up", "--servers", fmt.Sprint(count), "--agents", "0", "--user", "root", "--no-inventory"); err != nil {
		return nil, err
	}
	sockets, err := os.MkdirTemp("", "k3s-conformance-")
	if err != nil {
		return nil, err
	}
	l.sockets = sockets
	addresses, err := l.addresses()
	if err != nil {
		return nil, err
	}
	for i, address := range addresses {
		l.nodes = append(l.nodes, &Node{lab: l, Number: i + 1, address: address})
	}
	if len(l.nodes) < count {
		return nil, fmt.Errorf("the lab has %d nodes, not %d", len(l.nodes), count)
	}
	return l, nil
}

// Nodes are the nodes in the order of their addresses.
func (l *Lab) Nodes() []*Node { return l.nodes }

// Bridge is this machine's own address among the nodes: nothing answers there at K3s' ports.
func (l *Lab) Bridge() string {
	address := l.nodes[0].address
	return address[:strings.LastIndex(address, ".")] + ".1"
}

// Down ends the connections and, unless the nodes are to stay, takes them down.
func (l *Lab) Down(keep bool) error {
	for _, n := range l.nodes {
		_ = exec.Command("ssh", append(n.sshArgs(), "-O", "exit", n.target())...).Run()
	}
	_ = os.RemoveAll(l.sockets)
	if keep {
		return nil
	}
	return l.run("down")
}

func (l *Lab) run(args ...string) error {
	args = append([]string{"lab", "--name", l.Name, "--dir", l.Dir}, args...)
	command := exec.Command(l.Program, args...)
	command.Dir = os.TempDir()
	out, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", l.Program, strings.Join(args, " "), err, out)
	}
	return nil
}

func (l *Lab) file(name string) string { return filepath.Join(l.Dir, l.Name, name) }

// addresses are read from the host keys that the lab has pinned: `ADDRESS,NAME TYPE KEY`.
func (l *Lab) addresses() ([]string, error) {
	file, err := os.Open(l.file("known_hosts"))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	seen := map[string]bool{}
	var list []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		address, _, ok := strings.Cut(lines.Text(), ",")
		if ok && !seen[address] {
			seen[address] = true
			list = append(list, address)
		}
	}
	sort.Slice(list, func(i, j int) bool {
		return len(list[i]) < len(list[j]) || len(list[i]) == len(list[j]) && list[i] < list[j]
	})
	return list, nil
}

// Node is one of them.
type Node struct {
	lab     *Lab
	Number  int
	address string
}

// Address is the node's IP address.
func (n *Node) Address() string { return n.address }

func (n *Node) target() string { return "root@" + n.address }

func (n *Node) sshArgs() []string {
	return []string{"-F", "none", "-i", n.lab.file("key"), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
		"-o", "UserKnownHostsFile=" + n.lab.file("known_hosts"), "-o", "StrictHostKeyChecking=yes",
		"-o", "GlobalKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=10",
		"-o", "ControlMaster=auto", "-o", "ControlPersist=yes",
		"-o", "ControlPath=" + filepath.Join(n.lab.sockets, "%C")}
}

// Result is what a command did.
type Result struct {
	Exit           int
	Stdout, Stderr string
}

// ErrTimeout is given where a command did not end in time; what it had said by then is in the result.
var ErrTimeout = errors.New("the command did not end")

// Run runs a bash command line as root.
func (n *Node) Run(command string, limit time.Duration) (Result, error) {
	return n.feed(command, nil, limit)
}

func (n *Node) feed(command string, stdin []byte, limit time.Duration) (Result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	run := exec.CommandContext(ctx, "ssh", append(n.sshArgs(), n.target(), "bash -c "+Quote(command))...)
	var stdout, stderr bytes.Buffer
	run.Stdout, run.Stderr = &stdout, &stderr
	run.WaitDelay = time.Second
	if stdin != nil {
		run.Stdin = bytes.NewReader(stdin)
	}
	err := run.Run()
	result := Result{Stdout: stdout.String(), Stderr: stderr.String(), Exit: run.ProcessState.ExitCode()}
	if ctx.Err() != nil {
		return result, fmt.Errorf("%w within %s", ErrTimeout, limit)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		return result, err
	}
	if result.Exit == 255 {
		return result, fmt.Errorf("ssh to %s: %s", n.address, strings.TrimSpace(result.Stderr))
	}
	return result, nil
}

// Must runs a command line that belongs to a set-up: it has to succeed.
func (n *Node) Must(command string, limit time.Duration) (string, error) {
	result, err := n.Run(command, limit)
	if err == nil && result.Exit != 0 {
		err = fmt.Errorf("exit %d", result.Exit)
	}
	if err != nil {
		return result.Stdout, fmt.Errorf("set-up command failed: %w\n$ %s\n%s%s", err, command, result.Stdout, result.Stderr)
	}
	return result.Stdout, nil
}

// Write puts a file on the node.
func (n *Node) Write(path string, content []byte, mode string) error {
	command := fmt.Sprintf("mkdir -p %s && cat >%s.new && chmod %s %s.new && mv -f %s.new %s",
		Quote(filepath.Dir(path)), Quote(path), mode, Quote(path), Quote(path), Quote(path))
	result, err := n.feed(command, content, 2*time.Minute)
	if err == nil && result.Exit != 0 {
		err = fmt.Errorf("exit %d: %s", result.Exit, result.Stderr)
	}
	if err != nil {
		return fmt.Errorf("writing %s on %s: %w", path, n.address, err)
	}
	return nil
}

// Quote makes a word of a shell.
func Quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
