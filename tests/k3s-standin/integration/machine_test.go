// Package integration tries the built program as a whole on one machine: each node of a test has its own host name,
// network, /etc, /var/lib and /run (namespaces of Linux, so root is needed) and leaves nothing behind. K3S names the
// program. What systemd does with it is the business of the conformance suite.
package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	rancher    = "/var/lib/rancher/k3s"
	configFile = "/etc/rancher/k3s/config.yaml"
	kubeconfig = "/etc/rancher/k3s/k3s.yaml"
	faultsFile = "/run/k3s-standin/faults"
	hitsFile   = "/run/k3s-standin/hits"
	readyLine  = `msg="k3s is up and running"`
	startLimit = 2 * time.Minute
	stopLimit  = 20 * time.Second
	fewer      = "disable: [traefik, metrics-server, coredns]\n"
)

// machine is one pretended machine with K3s on it.
type machine struct {
	t       *testing.T
	k3s     string
	name    string
	address string
	pid     int    // of what keeps its namespaces
	dir     string // for its logs
	env     []string
	again   bool // K3s that ends by itself is started again, as systemd does

	mu      sync.Mutex
	running *process
	starts  int
	ends    []*process // those that ended by themselves
}

// process is one run of K3s.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
	err  error       // when done
	told atomic.Bool // to end
}

// start makes a machine with a server on it and waits until its node is ready.
func start(t *testing.T) *machine {
	t.Helper()
	m := newNetwork(t).machine("n1")
	m.config("cluster-init: true\ntoken: integration\n" + fewer)
	m.up()
	m.awaitNode("n1")
	return m
}

// in lets a part of a test fail instead of the whole.
func (m *machine) in(t *testing.T) {
	whole := m.t
	m.t = t
	t.Cleanup(func() { m.t = whole })
}

// config writes the machine's configuration.
func (m *machine) config(text string) {
	m.t.Helper()
	m.write(configFile, text)
}

// launch starts K3s, a server unless it is said otherwise, and does not wait.
func (m *machine) launch(command ...string) *process {
	m.t.Helper()
	if len(command) == 0 {
		command = []string{"server"}
	}
	p, err := m.spawn(command)
	if err != nil {
		m.t.Fatal(err)
	}
	return p
}

// restartPause is systemd's, by K3s' unit.
const restartPause = 5 * time.Second

func (m *machine) spawn(command []string) (*process, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.starts++
	p := &process{log: filepath.Join(m.dir, fmt.Sprintf("%s-%d.log", m.name, m.starts)), done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = m.inside(context.Background(), append([]string{m.k3s}, command...)...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = append(os.Environ(), m.env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	m.running = p
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
		if !m.again || p.told.Load() {
			return
		}
		m.mu.Lock()
		m.ends = append(m.ends, p)
		m.mu.Unlock()
		time.AfterFunc(restartPause, func() {
			if !p.told.Load() {
				_, _ = m.spawn(command)
			}
		})
	}()
	return p, nil
}

// current is K3s' last run.
func (m *machine) current() *process {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.running
}

// up starts a server and waits until it would tell systemd that it is.
func (m *machine) up() {
	m.t.Helper()
	m.launch()
	m.awaitLog(readyLine, startLimit)
}

// kill ends K3s as a power cut does.
func (m *machine) kill() {
	p := m.current()
	p.told.Store(true)
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop ends K3s as systemd does, and gives its exit status; -1 where it did not end.
func (m *machine) stop() int {
	p := m.current()
	p.told.Store(true)
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	return p.ended(stopLimit)
}

// ended waits for the end and gives the exit status; -1 where a signal ended it, or it did not end in time.
func (p *process) ended(limit time.Duration) int {
	select {
	case <-p.done:
	case <-time.After(limit):
		if p.alive() {
			return -1
		}
	}
	return p.cmd.ProcessState.ExitCode()
}

func (m *machine) ended(limit time.Duration) int { return m.current().ended(limit) }

func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (m *machine) alive() bool {
	p := m.current()
	return p != nil && p.alive()
}

// close ends what still runs when the test is over.
func (m *machine) close() {
	if p := m.current(); p != nil {
		p.told.Store(true)
	}
	if m.alive() {
		if m.stop() < 0 {
			m.kill()
			m.t.Errorf("%s did not stop within %s of SIGTERM", m.name, stopLimit)
		}
	}
	if m.t.Failed() && m.current() != nil {
		m.t.Logf("the end of the last log of %s:\n%s", m.name, tail(m.log(), 3000))
	}
}

// log is what K3s has written since its last start.
func (m *machine) log() string { return m.current().text() }

func (p *process) text() string {
	data, _ := os.ReadFile(p.log)
	return string(data)
}

func tail(text string, length int) string { return text[max(0, len(text)-length):] }

// run runs K3s' command line and gives all it said and its exit status.
func (m *machine) run(args ...string) (string, int) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := m.inside(ctx, append([]string{m.k3s}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		m.t.Fatalf("%s: k3s %s: %v", m.name, strings.Join(args, " "), err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// must runs K3s' command line, which must succeed.
func (m *machine) must(args ...string) string {
	m.t.Helper()
	out, code := m.run(args...)
	if code != 0 {
		m.t.Fatalf("%s: k3s %s: exit %d\n%s", m.name, strings.Join(args, " "), code, out)
	}
	return out
}

// try runs kubectl and returns its output; errors are the caller's business.
func (m *machine) try(args ...string) (string, error) {
	m.t.Helper()
	out, code := m.run(append([]string{"kubectl"}, args...)...)
	if code != 0 {
		return out, fmt.Errorf("exit %d", code)
	}
	return out, nil
}

// kubectl runs kubectl, which must succeed.
func (m *machine) kubectl(args ...string) string {
	m.t.Helper()
	return m.must(append([]string{"kubectl"}, args...)...)
}

// apply applies a manifest that is given as text.
func (m *machine) apply(manifest string) {
	m.t.Helper()
	m.write("/run/manifest.yaml", manifest)
	m.kubectl("apply", "-f", "/run/manifest.yaml")
}

// client talks to the machine's own apiserver as the administrator.
func (m *machine) client() *kubernetes.Clientset {
	m.t.Helper()
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(m.read(kubeconfig)))
	if err != nil {
		m.t.Fatalf("%s: %v", m.name, err)
	}
	config.Dial = m.dial
	config.Timeout = 20 * time.Second
	config.QPS, config.Burst = 1000, 1000
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		m.t.Fatal(err)
	}
	return client
}

// get asks for a URL from within the machine, without credentials; status 0 where there was no answer.
func (m *machine) get(url string) (int, string) {
	transport := &http.Transport{DialContext: m.dial, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // what is asked for needs no trust
	answer, err := (&http.Client{Transport: transport, Timeout: 5 * time.Second}).Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(body)
}

// await waits for something to become true while K3s runs.
func (m *machine) await(what string, limit time.Duration, ok func() bool) {
	m.t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(100 * time.Millisecond) {
		if !m.alive() && !m.again {
			m.t.Fatalf("%s ended (%v) before: %s", m.name, m.current().err, what)
		}
		if time.Now().After(end) {
			m.t.Fatalf("%s: not within %v: %s", m.name, limit, what)
		}
	}
}

// awaitLog waits for a line of the log since the last start.
func (m *machine) awaitLog(text string, limit time.Duration) {
	m.t.Helper()
	m.await(text, limit, func() bool { return strings.Contains(m.log(), text) })
}

// awaitNode waits until a node is ready, as this machine's apiserver sees it.
func (m *machine) awaitNode(name string) {
	m.t.Helper()
	m.await("node "+name+" is ready", time.Minute, func() bool {
		out, err := m.try("get", "node", name, "--no-headers")
		return err == nil && strings.Contains(out, " Ready ")
	})
}

// torture skips what takes minutes.
func torture(t *testing.T, length string) {
	t.Helper()
	if os.Getenv("HMCO_TORTURE") == "" {
		t.Skipf("SKIPPED: HMCO_TORTURE is not set; this takes %s", length)
	}
}
