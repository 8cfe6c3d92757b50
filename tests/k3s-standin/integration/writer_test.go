package integration

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// writer writes ConfigMaps through one server, one after the other, and keeps account of what the server has promised.
type writer struct {
	through *machine
	name    string
	stop    context.CancelFunc
	ended   chan struct{}

	mu       sync.Mutex
	promised []string
	failed   []failure
}

type failure struct {
	when time.Time
	err  error
}

// writePause keeps two writers from taking the processor that they measure.
const writePause = 50 * time.Millisecond

// write starts a writer.
func (m *machine) writer(name string) *writer {
	m.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &writer{through: m, name: name, stop: cancel, ended: make(chan struct{})}
	maps := m.client().CoreV1().ConfigMaps("default")
	go func() {
		defer close(w.ended)
		for i := 0; ctx.Err() == nil; i++ {
			object := &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", name, i)}}
			// Not ended by ctx: a write that is cut off would be neither promised nor failed.
			_, err := maps.Create(context.Background(), object, metav1.CreateOptions{})
			w.mu.Lock()
			if err == nil {
				w.promised = append(w.promised, object.Name)
			} else {
				w.failed = append(w.failed, failure{time.Now(), err})
			}
			w.mu.Unlock()
			select {
			case <-ctx.Done():
			case <-time.After(writePause):
			}
		}
	}()
	m.t.Cleanup(cancel)
	return w
}

// end stops the writer and gives its account.
func (w *writer) end() (promised []string, failed []failure) {
	w.stop()
	<-w.ended
	return w.promised, w.failed
}

func (w *writer) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.promised)
}

// goesOn waits until more has been written than just now.
func (w *writer) goesOn(more int, limit time.Duration) {
	w.through.t.Helper()
	had := w.count()
	w.through.await(fmt.Sprintf("writer %s goes on", w.name), limit, func() bool { return w.count() >= had+more })
}

// The kinds of failed writes. That a leader changes while a write is under way is recorded (06-token-rotate/26); the
// others are what etcd and the apiserver say while a leader is missing for seconds.
var (
	leaderChanged = regexp.MustCompile(`etcdserver: leader changed`)
	leaderMissing = regexp.MustCompile(`etcdserver: (?:leader changed|request timed out|no leader)|context deadline exceeded|` +
		`Client\.Timeout exceeded|Timeout: request did not complete|the server was unable to return a response in the time allotted|` +
		`the object might have been written|http2: client connection lost`)
)

// judge ends the writer and complains about failures that are not of these kinds.
func (w *writer) judge(t *testing.T, allowed *regexp.Regexp) []string {
	t.Helper()
	promised, failed := w.end()
	for _, f := range failed {
		if !allowed.MatchString(f.err.Error()) {
			t.Errorf("writer %s through %s, %s: %v", w.name, w.through.name, f.when.Format("15:04:05.000"), f.err)
		}
	}
	t.Logf("writer %s through %s: %d written, %d failed", w.name, w.through.name, len(promised), len(failed))
	if len(promised) == 0 {
		t.Errorf("writer %s has written nothing", w.name)
	}
	return promised
}

// holds checks that a server knows all that was promised.
func (m *machine) holds(t *testing.T, promised []string) {
	t.Helper()
	list, err := m.client().CoreV1().ConfigMaps("default").List(context.Background(), metav1.ListOptions{})
	if err != nil {
		t.Fatalf("%s: %v", m.name, err)
	}
	have := map[string]bool{}
	for i := range list.Items {
		have[list.Items[i].Name] = true
	}
	var lost []string
	for _, name := range promised {
		if !have[name] {
			lost = append(lost, name)
		}
	}
	if len(lost) > 0 {
		t.Errorf("%s does not know %d of %d that were promised: %s", m.name, len(lost), len(promised), strings.Join(lost[:min(5, len(lost))], " "))
	}
}

// etcdHealth is what etcd says of itself; empty where it does not answer.
func (m *machine) etcdHealth() string {
	if code, body := m.get("http://127.0.0.1:2381/health"); code == http.StatusOK || code == http.StatusServiceUnavailable {
		return body
	}
	return ""
}
