package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// withFaults writes the faults file and takes it away at the end of the part.
func (m *machine) withFaults(t *testing.T, lines ...string) {
	t.Helper()
	m.write(faultsFile, strings.Join(lines, "\n")+"\n")
	t.Cleanup(func() { m.noFaults(t) })
}

func (m *machine) noFaults(t *testing.T) {
	t.Helper()
	if err := os.Remove(m.path(faultsFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if broken := m.read("/run/k3s-standin/faults.errors"); broken != "" {
		t.Errorf("lines that could not be read: %s", broken)
	}
}

// fired says how often a line of the faults file has had its effect.
func (m *machine) fired(line string) int { return strings.Count(m.read(hitsFile), "\t"+line+"\n") }

// TestFaultsAreOffUntilAskedForAndDoWhatTheySay goes through the faults on one server.
func TestFaultsAreOffUntilAskedForAndDoWhatTheySay(t *testing.T) {
	m := newNetwork(t).machine("n1")
	m.env = []string{"K3S_STANDIN_RELOAD_PERIOD=" + reloadPeriod.String()}
	m.config("cluster-init: true\ntoken: integration\nsecrets-encryption: true\netcd-disable-snapshots: true\n" + fewer)
	m.up()
	m.awaitNode("n1")
	for _, part := range []struct {
		name string
		run  func(*testing.T, *machine)
	}{
		{"off by default", offByDefault},
		{"a stage fails", aStageFails},
		{"a stage is slow, or held", aStageIsSlowOrHeld},
		{"the reload fails", theReloadFails},
		{"the API storms", theAPIStorms},
		{"the disk is slow", theDiskIsSlow},
		{"the clock is wrong", theClockIsWrong},
		{"an image cannot be pulled", anImageCannotBePulled},
		{"a line that is wrong is told", aWrongLineIsTold},
		{"a stage crashes", aStageCrashes},
	} {
		t.Run(part.name, func(t *testing.T) {
			m.in(t)
			part.run(t, m)
			m.await("K3s goes on", time.Minute, func() bool {
				_, err := m.try("get", "namespace", "default")
				return err == nil
			})
		})
	}
}

func offByDefault(t *testing.T, m *machine) {
	if files := m.shell("ls /run/k3s-standin"); strings.Contains(files, "faults") || strings.Contains(files, "hits") {
		t.Errorf("there are faults that nobody asked for: %s", files)
	}
	if m.save(t) > 5*time.Second {
		t.Error("a snapshot takes long")
	}
	api := m.plain(t)
	for range 30 {
		if code, _, err := api.get("/api/v1/namespaces"); err != nil || code != http.StatusOK {
			t.Fatalf("a call fails: %d, %v", code, err)
		}
	}
	if off := time.Until(m.heartbeat()); off > time.Minute || off < -2*time.Minute {
		t.Errorf("the node's clock is off by %s", off)
	}
}

// save takes a snapshot, which must succeed, and says how long it took.
func (m *machine) save(t *testing.T) time.Duration {
	t.Helper()
	begun := time.Now()
	if out := m.must("etcd-snapshot", "save", "--name", fmt.Sprint("s", begun.UnixNano())); !strings.Contains(out, "saved.") {
		t.Errorf("no snapshot: %q", out)
	}
	return time.Since(begun)
}

// A snapshot that fails is exit 0 and no word, as recorded; the journal has the reason.
func aStageFails(t *testing.T, m *machine) {
	line := "fail snapshot.save times=1 the disk is on fire"
	m.withFaults(t, line)
	if out := m.must("etcd-snapshot", "save", "--name", "failing"); strings.Contains(out, "saved.") {
		t.Errorf("saved: %q", out)
	}
	if !strings.Contains(m.log(), "Failed to take etcd snapshot: the disk is on fire") || m.fired(line) != 1 {
		t.Errorf("not told; fired %d times", m.fired(line))
	}
	m.save(t) // times=1
}

func aStageIsSlowOrHeld(t *testing.T, m *machine) {
	m.withFaults(t, "slow snapshot.save 2s")
	if took := m.save(t); took < 2*time.Second {
		t.Errorf("it took %s", took)
	}
	m.write(faultsFile, "hold snapshot.save\n")
	done := make(chan time.Duration)
	go func() { done <- m.save(t) }()
	m.await("the stage is reached", 20*time.Second, func() bool { return m.fired("hold snapshot.save") == 1 })
	select {
	case <-done:
		t.Error("it did not wait")
	case <-time.After(time.Second):
	}
	m.noFaults(t)
	<-done
}

// rotate-keys gives up as it does where the apiserver has not looked at its configuration in time; a slow reload does not
// keep it from going on, and the recorded cure helps.
func theReloadFails(t *testing.T, m *machine) {
	m.status()
	m.awaitPhase()
	m.withFaults(t, "fail rotate-keys.reload")
	out, code := m.run("secrets-encrypt", "rotate-keys")
	if code != 1 || !strings.Contains(out, "see server log for details") {
		t.Errorf("exit %d, %q", code, out)
	}
	if !strings.Contains(m.log(), "context deadline exceeded: apiserver has not reloaded encryption configuration") {
		t.Error("the log does not say why")
	}
	if s := m.status(); s.Stage != "reencrypt_active" || !s.HashMatch || len(s.Inactive) != 1 {
		t.Errorf("left behind: %+v", s)
	}
	m.noFaults(t)
	m.must("secrets-encrypt", "reencrypt", "--force")
	m.awaitStage("reencrypt_finished")

	m.awaitPhase()
	m.withFaults(t, "slow rotate-keys.reload 1500ms times=1")
	begun := time.Now()
	m.must("secrets-encrypt", "rotate-keys")
	if took := time.Since(begun); took < 1500*time.Millisecond {
		t.Errorf("it took %s", took)
	}
	m.awaitStage("reencrypt_finished")
}

// api makes calls as the administrator, once each: client-go would try again.
type api struct {
	client *http.Client
}

func (m *machine) plain(t *testing.T) api {
	t.Helper()
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(m.read(kubeconfig)))
	if err != nil {
		t.Fatal(err)
	}
	config.Dial, config.Timeout = m.dial, 20*time.Second
	config.NextProtos = []string{"http/1.1"} // a connection each, so that a reset is one
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return api{client}
}

func (a api) get(path string) (int, http.Header, error) { return a.call(http.MethodGet, path, nil) }

func (a api) call(method, path string, body any) (int, http.Header, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	request, err := http.NewRequest(method, "https://127.0.0.1:6443"+path, strings.NewReader(string(data)))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := a.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, answer.Header, err
}

func theAPIStorms(t *testing.T, m *machine) {
	calls := m.plain(t)
	const list, maps = "/api/v1/namespaces", "/api/v1/namespaces/default/configmaps"
	m.withFaults(t, "api status=429 share=0.5 retry-after=3 seed=7")
	refused := 0
	for range 40 {
		code, header, err := calls.get(list)
		switch {
		case err != nil || code != http.StatusOK && code != http.StatusTooManyRequests:
			t.Fatalf("%d, %v", code, err)
		case code == http.StatusTooManyRequests:
			refused++
			if header.Get("Retry-After") != "3" {
				t.Errorf("Retry-After: %q", header.Get("Retry-After"))
			}
		}
	}
	if refused < 8 || refused > 32 {
		t.Errorf("%d of 40 refused, half of them were to be", refused)
	}
	for _, status := range []int{http.StatusInternalServerError, http.StatusServiceUnavailable} {
		m.write(faultsFile, fmt.Sprintf("api status=%d verb=POST path=%s\n", status, maps))
		object := &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("storm-", status)}}
		if code, _, err := calls.call(http.MethodPost, maps, object); err != nil || code != status {
			t.Errorf("%d, %v; wanted %d", code, err, status)
		}
		if code, _, err := calls.get(maps); err != nil || code != http.StatusOK {
			t.Errorf("another verb: %d, %v", code, err)
		}
		if code, _, err := calls.get(list); err != nil || code != http.StatusOK {
			t.Errorf("another path: %d, %v", code, err)
		}
	}
	m.write(faultsFile, "api reset path="+list+"\n")
	if code, _, err := calls.get(list); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("no reset: %d, %v", code, err)
	}
	// The control plane's own parts are spared: it would end if its leases were not renewed for 10 s.
	m.write(faultsFile, "api status=503\n")
	m.noFaultsAfter(t, 12*time.Second, func() {
		if code, _, err := calls.get(list); err != nil || code != http.StatusServiceUnavailable {
			t.Errorf("%d, %v", code, err)
		}
	})
	if code, _, err := calls.get(list); err != nil || code != http.StatusOK {
		t.Errorf("after the storm: %d, %v", code, err)
	}
}

// noFaultsAfter does something and takes the faults away some time later.
func (m *machine) noFaultsAfter(t *testing.T, length time.Duration, do func()) {
	t.Helper()
	timer := time.NewTimer(length)
	do()
	<-timer.C
	m.noFaults(t)
}

// slowest writes until one write has taken that long or the time is over, and says how long the slowest took.
func (m *machine) slowest(t *testing.T, enough, limit time.Duration) time.Duration {
	t.Helper()
	maps := m.client().CoreV1().ConfigMaps("default")
	var worst time.Duration
	for end := time.Now().Add(limit); worst < enough && time.Now().Before(end); {
		begun := time.Now()
		object := &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "disk-"}}
		if _, err := maps.Create(context.Background(), object, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		worst = max(worst, time.Since(begun))
	}
	return worst
}

func theDiskIsSlow(t *testing.T, m *machine) {
	const stall = 1500 * time.Millisecond
	m.withFaults(t, "disk 1500ms every=500ms")
	if worst := m.slowest(t, stall/2, 20*time.Second); worst < stall/2 {
		t.Errorf("with a disk that stalls for %s, the slowest write took %s", stall, worst)
	}
	m.noFaults(t)
	// One that is under way may still stall.
	m.await("writes are quick again", 20*time.Second, func() bool { return m.slowest(t, stall/2, time.Second) < stall/2 })
}

// heartbeat is when the node has renewed its lease last, by its own clock.
func (m *machine) heartbeat() time.Time {
	lease, err := m.client().CoordinationV1().Leases("kube-node-lease").Get(context.Background(), "n1", metav1.GetOptions{})
	if err != nil || lease.Spec.RenewTime == nil {
		return time.Time{}
	}
	return lease.Spec.RenewTime.Time
}

var logTime = regexp.MustCompile(`(?m)^time="([^"]+)"`)

// lastLog is the time that the last line of K3s' own log carries.
func (m *machine) lastLog(t *testing.T) time.Time {
	t.Helper()
	lines := logTime.FindAllStringSubmatch(m.log(), -1)
	if len(lines) == 0 {
		t.Fatal("no line with a time")
	}
	at, err := time.Parse(time.RFC3339, lines[len(lines)-1][1])
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func theClockIsWrong(t *testing.T, m *machine) {
	m.withFaults(t, "clock -3h")
	m.save(t) // so that something is logged
	if off := time.Until(m.lastLog(t)); off > -2*time.Hour {
		t.Errorf("the log's time is off by %s", off)
	}
	m.await("a heartbeat of three hours ago", time.Minute, func() bool {
		at := m.heartbeat()
		return !at.IsZero() && time.Until(at) < -2*time.Hour
	})
	m.noFaults(t)
	m.await("a heartbeat of now", time.Minute, func() bool { return time.Until(m.heartbeat()) > -5*time.Minute })
}

func anImageCannotBePulled(t *testing.T, m *machine) {
	m.await("a service account", time.Minute, func() bool {
		_, err := m.try("get", "serviceaccount", "default")
		return err == nil
	})
	m.withFaults(t, "image bad* pull-fails")
	for _, name := range []string{"good", "bad"} {
		m.kubectl("run", name, "--image=registry.invalid/"+name+":1")
	}
	m.kubectl("wait", "--for=condition=ready", "pod/good", "--timeout=60s")
	m.await("a pull that fails", time.Minute, func() bool {
		out := m.kubectl("get", "pod", "bad", "--no-headers")
		return strings.Contains(out, "ErrImagePull") || strings.Contains(out, "ImagePullBackOff")
	})
	m.kubectl("delete", "pod", "good", "bad", "--timeout=60s")
}

func aWrongLineIsTold(t *testing.T, m *machine) {
	m.write(faultsFile, "crash snapshot.sav\n")
	m.save(t)
	if told := m.read("/run/k3s-standin/faults.errors"); !strings.Contains(told, "no stage is named snapshot.sav") {
		t.Errorf("told: %q", told)
	}
	if !strings.Contains(m.log(), "no stage is named snapshot.sav") {
		t.Error("the log does not tell")
	}
	m.write(faultsFile, "\n")
	m.save(t)
	m.noFaults(t)
}

// Each line of the file fires once, over all runs: after three crashes the stage passes though the lines are still there.
func aStageCrashes(t *testing.T, m *machine) {
	lines := []string{"crash snapshot.save", "crash snapshot.save how=exit", "crash snapshot.save how=panic"}
	m.withFaults(t, lines...)
	for i, status := range []int{-1, 1, 2} {
		out, _ := m.run("etcd-snapshot", "save")
		if code := m.ended(20 * time.Second); code != status || m.alive() {
			t.Fatalf("%s: status %d: %s", lines[i], code, out)
		}
		if m.fired(lines[i]) != 1 {
			t.Errorf("fired %d times: %s", m.fired(lines[i]), lines[i])
		}
		m.up()
	}
	m.await("a save after all crashes", time.Minute, func() bool {
		out, code := m.run("etcd-snapshot", "save")
		return code == 0 && strings.Contains(out, "saved.")
	})
}
