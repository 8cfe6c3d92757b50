package encryption

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"

	"hmco-boot/k3s-standin/internal/logx"
)

// bench is one server's calls over a pretended apiserver, which "reloads" when the test says so.
type bench struct {
	*server
	t      *testing.T
	client kubernetes.Interface
	saved  int
	loaded int
}

func newBench(t *testing.T) *bench {
	t.Helper()
	t.Cleanup(func() { logx.SetOutput(os.Stderr) })
	logx.SetOutput(discard{})
	dir := t.TempDir()
	b := &bench{t: t}
	b.server = &server{
		core: &core{}, nodeName: "n1",
		configFile: filepath.Join(dir, "encryption-config.json"), stateFile: filepath.Join(dir, "encryption-state.json"),
		save: func(context.Context) error { b.saved++; return nil },
		wait: waiting{poll: 5 * time.Millisecond, limit: 60 * time.Millisecond, read: b.metrics},
	}
	if err := ensureFiles(b.configFile, b.stateFile); err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{"node-role.kubernetes.io/control-plane": "true"}
	b.client = fake.NewClientset(
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: labels, Annotations: map[string]string{HashAnnotation: b.state()}}},
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n4"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "canary", Namespace: "default"}},
	)
	b.core.start(context.Background(), b.client)
	return b
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func (b *bench) metrics(context.Context, kubernetes.Interface) ([]byte, error) {
	if b.loaded == 0 {
		return []byte("# nothing\n"), nil
	}
	return fmt.Appendf(nil, "%s{apiserver_id_hash=\"sha256:x\",status=\"success\"} %d\n%s{apiserver_id_hash=\"sha256:x\",status=\"success\"} 1.795252812e+09\n",
		reloadsMetric, b.loaded, timestampMetric), nil
}

func (b *bench) state() string {
	b.t.Helper()
	data, err := os.ReadFile(b.stateFile)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(data)
}

func (b *bench) annotation() string {
	b.t.Helper()
	node, err := b.client.CoreV1().Nodes().Get(context.Background(), "n1", metav1.GetOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	return node.Annotations[HashAnnotation]
}

func (b *bench) hash() string {
	b.t.Helper()
	hash, err := HashFile(b.configFile)
	if err != nil {
		b.t.Fatal(err)
	}
	return hash
}

func (b *bench) keyNames() int {
	b.t.Helper()
	providers, err := Read(b.configFile)
	if err != nil {
		b.t.Fatal(err)
	}
	return len(providers.Keys)
}

func (b *bench) stage(want string) {
	b.t.Helper()
	if got := want + "-" + b.hash(); b.state() != got || b.annotation() != got {
		b.t.Fatalf("state %s, annotation %s, want both %s", b.state(), b.annotation(), got)
	}
}

func (b *bench) do(req request, want string) {
	b.t.Helper()
	got := ""
	if err := b.change(req); err != nil {
		got = err.Error()
	}
	if got != want {
		b.t.Fatalf("%+v: %q, recorded %q", req, got, want)
	}
}

func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("%s: state %s annotation %s", what, b.state(), b.annotation())
		}
	}
}

func TestTheClassicOrderGoesThroughItsStages(t *testing.T) {
	b := newBench(t)
	b.stage(StageStart)
	b.do(request{Stage: StagePrepare}, "")
	b.stage(StagePrepare)
	b.do(request{Stage: StagePrepare}, "incorrect stage: prepare found on node n1")
	b.do(request{Stage: StageRotate}, "")
	b.stage(StageRotate)
	b.do(request{Stage: StageReencryptRequest}, "")
	b.until("reencrypt", func() bool { return strings.HasPrefix(b.annotation(), StageReencryptFinished) && b.saved == 3 })
	b.stage(StageReencryptFinished)
	if b.keyNames() != 1 || b.saved != 3 {
		t.Errorf("%d keys, saved %d times", b.keyNames(), b.saved)
	}
}

func TestRotateKeysFailsWithoutAReloadAndReencryptForceCures(t *testing.T) {
	b := newBench(t)
	old := b.hash()
	b.do(request{Stage: StageRotateKeys},
		`Get "https://127.0.0.1:6444/metrics?timeout=15m0s": context deadline exceeded: encryption config time metric not found: `)
	if b.annotation() != StageReencryptActive+"-"+old || b.state() != StageStart+"-"+old || b.keyNames() != 2 || b.saved != 0 {
		t.Fatalf("annotation %s, state %s, %d keys, saved %d", b.annotation(), b.state(), b.keyNames(), b.saved)
	}
	status, err := b.status()
	if err != nil || status.Stage != StageReencryptActive || !status.HashMatch || len(status.InactiveKeys) != 1 {
		t.Fatalf("%+v, %v", status, err)
	}
	b.do(request{Stage: StageRotateKeys}, "incorrect stage: reencrypt_active found on node n1")
	// A restart puts the annotation back to the state file.
	_, client := b.core.get()
	if err := b.annotateFromState(context.Background(), client); err != nil {
		t.Fatal(err)
	}
	for _, stage := range []string{StageRotateKeys, StagePrepare} {
		b.do(request{Stage: stage}, "invalid hash: "+old+" found on node n1")
	}
	b.do(request{Stage: StageReencryptRequest, Force: true, Skip: true}, "")
	b.until("skip", func() bool { return b.annotation() == StageStart+"-"+old })
	b.do(request{Stage: StageRotateKeys}, "invalid hash: "+old+" found on node n1")
	b.do(request{Stage: StageReencryptRequest, Force: true}, "")
	b.until("force", func() bool { return strings.HasPrefix(b.annotation(), StageReencryptFinished) && b.saved == 1 })
	b.stage(StageReencryptFinished)
	if b.keyNames() != 1 {
		t.Errorf("%d keys", b.keyNames())
	}
}

func TestRotateKeysNamesTheReloadsItSawWhenItGivesUp(t *testing.T) {
	b := newBench(t)
	b.loaded = 3
	b.do(request{Stage: StageRotateKeys}, "context deadline exceeded: apiserver has not reloaded encryption configuration "+
		"(reload success: 3/3, reload timestamp 1795252812/1795252812)")
}

func TestRotateKeysEndsWithOneKeyAndOneSave(t *testing.T) {
	b := newBench(t)
	old := b.hash()
	b.wait.limit = 5 * time.Second
	go func() {
		for b.hash() == old {
			time.Sleep(time.Millisecond)
		}
		b.loaded = 1
	}()
	b.do(request{Stage: StageRotateKeys}, "")
	b.stage(StageReencryptFinished)
	if b.keyNames() != 1 || b.saved != 1 {
		t.Errorf("%d keys, saved %d times", b.keyNames(), b.saved)
	}
}

func TestDisableLeavesTheHashBehindAndEnableBringsItBack(t *testing.T) {
	b := newBench(t)
	on, off := true, false
	before := b.hash()
	b.do(request{Enable: &on}, "")
	if b.saved != 0 {
		t.Fatal("enabling what is enabled saved something")
	}
	b.do(request{Enable: &off}, "")
	if b.state() != StageStart+"-"+before || b.annotation() != b.state() || b.hash() == before {
		t.Fatalf("state %s annotation %s hash %s", b.state(), b.annotation(), b.hash())
	}
	b.do(request{Stage: StagePrepare}, "invalid hash: "+before+" found on node n1")
	b.do(request{Stage: StageReencryptRequest}, "incorrect stage: start found on node n1")
	b.do(request{Enable: &on}, "")
	b.stage(StageStart)
}

func TestAServerThatNeverHadItAnswersAsRecorded(t *testing.T) {
	b := newBench(t)
	b.configFile, b.stateFile = "", ""
	if err := b.annotate(context.Background(), b.client, ""); err != nil {
		t.Fatal(err)
	}
	on, off := true, false
	b.do(request{Enable: &on}, "open : no such file or directory")
	b.do(request{Enable: &off}, "open : no such file or directory")
	for _, stage := range []string{StagePrepare, StageRotate, StageReencryptRequest, StageRotateKeys} {
		b.do(request{Stage: stage}, "missing annotation on node n1")
	}
	b.core.start(context.Background(), nil) // status needs nothing then
	if status, err := b.status(); err != nil || status.Enable != nil {
		t.Errorf("%+v, %v", status, err)
	}
}
