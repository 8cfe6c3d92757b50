package faults

import (
	"context"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// ask puts the faults file into a folder of the test's own and forgets what was read before.
func ask(t *testing.T, content string) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv(dirEnv, dir)
	current = set{}
	old := Warn
	Warn = func(string) {}
	t.Cleanup(func() { Warn = old })
	if err := os.WriteFile(filepath.Join(dir, "faults"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestWithoutAFileNothingHappens(t *testing.T) {
	t.Setenv(dirEnv, t.TempDir())
	current = set{}
	if err := At("server.start"); err != nil {
		t.Errorf("At: %v", err)
	}
	if _, found := CertLife(); found {
		t.Error("certificates shall live shorter")
	}
	if off := time.Until(Now()); off.Abs() > time.Second {
		t.Errorf("the clock is off by %v", off)
	}
}

func TestAFailingStageReturnsTheTextAsOftenAsAskedFor(t *testing.T) {
	dir := ask(t, "fail encryption.* times=2 the disk is on fire\n")
	for i := range 2 {
		if err := At("encryption.written"); err == nil || err.Error() != "the disk is on fire" {
			t.Errorf("passing %d: %v", i, err)
		}
	}
	current = set{} // as after a restart: what fired before counts
	if err := At("encryption.written"); err != nil {
		t.Errorf("third passing: %v", err)
	}
	if err := At("snapshot.save"); err != nil {
		t.Errorf("another stage: %v", err)
	}
	hits, err := os.ReadFile(filepath.Join(dir, "hits"))
	if err != nil || strings.Count(string(hits), "fail encryption.*") != 2 {
		t.Errorf("hits: %q, %v", hits, err)
	}
}

func TestAHeldStageGoesOnWhenTheLineIsGone(t *testing.T) {
	dir := ask(t, "hold server.start\n")
	done := make(chan error)
	go func() { done <- At("server.start") }()
	select {
	case <-done:
		t.Fatal("it did not wait")
	case <-time.After(150 * time.Millisecond):
	}
	if err := os.Remove(filepath.Join(dir, "faults")); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestASlowStageEndsWithItsContext(t *testing.T) {
	ask(t, "slow server.start 1h\n")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := AtContext(ctx, "server.start"); err == nil {
		t.Error("no error")
	}
}

func TestACrashIsLikeKill9AndHappensOnceAtThePassingAskedFor(t *testing.T) {
	if os.Getenv("FAULTS_CRASH") != "" {
		for range 3 {
			_ = At("server.start")
		}
		return
	}
	dir := ask(t, "crash server.start after=2\n")
	run := func() error {
		cmd := exec.Command(os.Args[0], "-test.run=TestACrashIsLikeKill9")
		cmd.Env = append(os.Environ(), "FAULTS_CRASH=1", dirEnv+"="+dir)
		return cmd.Run()
	}
	err := run()
	exit, ok := err.(*exec.ExitError)
	if !ok || !exit.Sys().(syscall.WaitStatus).Signaled() || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("first run: %v", err)
	}
	if err := run(); err != nil {
		t.Errorf("second run: %v", err)
	}
}

func TestALineThatCannotBeReadIsReported(t *testing.T) {
	warned := make(chan string, 10)
	dir := ask(t, "crush server.start\nslow server.start\nclock +1h\napi status=200\ncerts 0s\ncrash server.start how=gently\ncrash serverstart\n")
	Warn = func(line string) {
		Now() // as the log does, which asks for the time
		warned <- line
	}
	if off := time.Until(Now()); off < 59*time.Minute {
		t.Errorf("the good line does not work: %v", off)
	}
	broken, err := os.ReadFile(filepath.Join(dir, "faults.errors"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(broken), "\n"); n != 6 {
		t.Errorf("%d lines in faults.errors:\n%s", n, broken)
	}
	for range 6 {
		select {
		case <-warned:
		case <-time.After(5 * time.Second):
			t.Fatal("not every line is told")
		}
	}
}

func TestAPIStormsHitTheCallsAskedFor(t *testing.T) {
	ask(t, "api status=429 retry-after=7 verb=GET path=/api/v1/secrets\n")
	server := httptest.NewServer(Handler(http.NotFoundHandler()))
	defer server.Close()
	for path, want := range map[string]int{"/api/v1/secrets?limit=1": 429, "/api/v1/nodes": 404, "/readyz": 404} {
		resp, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
		if want == 429 && resp.Header.Get("Retry-After") != "7" {
			t.Errorf("Retry-After: %q", resp.Header.Get("Retry-After"))
		}
	}
	resp, err := http.Post(server.URL+"/api/v1/secrets", "application/json", nil)
	if err != nil || resp.StatusCode != 404 {
		t.Errorf("POST: %v %v", resp, err)
	}
}

func TestAShareOfTheCallsIsTheSameInEveryRun(t *testing.T) {
	count := func() (hits string) {
		ask(t, "api status=500 share=0.3 seed=11\n")
		handler := Handler(http.NotFoundHandler())
		for range 200 {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/pods", nil))
			hits += map[int]string{500: "x", 404: "."}[w.Code]
		}
		return hits
	}
	first := count()
	if n := strings.Count(first, "x"); n < 40 || n > 80 {
		t.Errorf("%d of 200", n)
	}
	if second := count(); second != first {
		t.Error("another sequence")
	}
}

func TestAResetEndsTheConnectionWithoutAnAnswer(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		ask(t, "api reset\n")
		server := httptest.NewUnstartedServer(Handler(http.NotFoundHandler()))
		server.EnableHTTP2 = http2
		server.StartTLS()
		if resp, err := server.Client().Get(server.URL + "/api/v1/pods"); err == nil {
			t.Errorf("http2 %v: answered %d", http2, resp.StatusCode)
		}
		server.Close()
	}
}

func TestASlowDiskHoldsTheLock(t *testing.T) {
	ask(t, "disk 200ms every=1ms\n")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var lock sync.Mutex
	go SlowDisk(ctx, &lock)
	for start := time.Now(); lock.TryLock(); time.Sleep(time.Millisecond) {
		lock.Unlock()
		if time.Since(start) > 5*time.Second {
			t.Fatal("never held")
		}
	}
}

func TestImagesAreMatchedByNameOrWhole(t *testing.T) {
	ask(t, "image nginx:* pull-fails\nimage quay.io/*/falco:* crash=2\n")
	for image, want := range map[string]string{
		"nginx:1.25": "pull-fails", "docker.io/library/nginx:1": "pull-fails", "quay.io/x/falco:1": "crash=2", "redis:7": "",
	} {
		if mode, _ := Image(image); mode != want {
			t.Errorf("%s: %q", image, mode)
		}
	}
}

// Every stage of the program can be named in the file, and no other.
func TestTheListOfStagesIsExact(t *testing.T) {
	used := map[string]bool{}
	call := regexp.MustCompile(`faults\.At(?:Context)?\([^"\n]*"([^"]+)"`)
	err := filepath.WalkDir("../..", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		data, err := os.ReadFile(name)
		for _, match := range call.FindAllStringSubmatch(string(data), -1) {
			used[match[1]] = true
			if stages[match[1]] == "" {
				t.Errorf("%s: stage %s is not in stages.go", name, match[1])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for stage := range stages {
		if !used[stage] {
			t.Errorf("stage %s is in stages.go and nowhere else", stage)
		}
	}
}
