package faults

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// dirEnv names the environment variable that moves the folder, for tests.
const dirEnv = "K3S_STANDIN_RUN"

// Dir is the folder of the control files.
func Dir() string {
	if dir := os.Getenv(dirEnv); dir != "" {
		return dir
	}
	return "/run/k3s-standin"
}

// Warn is called with one line for every fault that cannot be read. The
// server sets it to its log.
var Warn = func(line string) { fmt.Fprintln(os.Stderr, line) }

// warn hands lines to Warn in the background: the log asks this package for
// the time, and whoever calls here may hold its locks.
func warn(lines ...string) {
	tell := Warn
	go func() {
		for _, line := range lines {
			tell(line)
		}
	}()
}

// set is the file as it was read last.
type set struct {
	mu      sync.Mutex
	dir     string
	stamp   time.Time
	size    int64
	list    []fault
	passed  map[string]int // how often a stage was passed, by line
	fired   map[string]int // how often a fault fired, by line, over all processes
	counted bool
}

var current set

// faults returns the list as the file is now.
func (s *set) faults() []fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	dir := Dir()
	file := filepath.Join(dir, "faults")
	info, err := os.Stat(file)
	if err != nil {
		s.list, s.stamp, s.size = nil, time.Time{}, 0
		return nil
	}
	if s.dir == dir && info.ModTime().Equal(s.stamp) && info.Size() == s.size {
		return s.list
	}
	content, err := os.ReadFile(file)
	if err != nil {
		warn("faults: " + err.Error())
		return nil
	}
	s.dir, s.stamp, s.size = dir, info.ModTime(), info.Size()
	var broken []string
	s.list, broken = parse(string(content))
	s.complain(broken)
	if s.passed == nil {
		s.passed = map[string]int{}
	}
	s.count()
	return s.list
}

func (s *set) complain(broken []string) {
	file := filepath.Join(s.dir, "faults.errors")
	if len(broken) == 0 {
		_ = os.Remove(file)
		return
	}
	lines := make([]string, len(broken))
	for i, line := range broken {
		lines[i] = "faults: " + line
	}
	warn(lines...)
	if err := os.WriteFile(file, []byte(strings.Join(broken, "\n")+"\n"), 0o600); err != nil {
		warn("faults: " + err.Error())
	}
}

// count reads how often each fault fired in earlier processes.
func (s *set) count() {
	if s.counted {
		return
	}
	s.counted = true
	s.fired = map[string]int{}
	file, err := os.Open(filepath.Join(s.dir, "hits"))
	if err != nil {
		return
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if _, raw, found := strings.Cut(lines.Text(), "\t"); found {
			s.fired[raw]++
		}
	}
}

// take says whether the fault fires at this passing, and writes it down.
func (s *set) take(f *fault) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passed[f.raw]++
	if s.passed[f.raw] < f.after || f.times > 0 && s.fired[f.raw] >= f.times {
		return false
	}
	s.fired[f.raw]++
	hits, err := os.OpenFile(filepath.Join(s.dir, "hits"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		warn("faults: " + err.Error())
		return true
	}
	defer hits.Close()
	fmt.Fprintf(hits, "%s\t%s\n", time.Now().UTC().Format(time.RFC3339Nano), f.raw)
	return true
}

// At passes the named stage: it returns at once with nil unless a fault is
// asked for there. It may not return at all.
func At(stage string) error {
	return AtContext(context.Background(), stage)
}

// AtContext is At for a stage whose waiting must end with ctx.
func AtContext(ctx context.Context, stage string) error {
	for _, f := range current.faults() {
		switch f.kind {
		case kindCrash, kindFail, kindSlow, kindHold:
		default:
			continue
		}
		if match, _ := path.Match(f.target, stage); !match || !current.take(&f) {
			continue
		}
		if err := f.carryOut(ctx, stage); err != nil {
			return err
		}
	}
	return nil
}

func (f *fault) carryOut(ctx context.Context, stage string) error {
	switch f.kind {
	case kindFail:
		return errors.New(f.text)
	case kindSlow:
		return wait(ctx, f.length)
	case kindHold:
		for held(f.raw) {
			if err := wait(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		}
	case kindCrash:
		switch f.how {
		case "exit":
			os.Exit(1)
		case "panic":
			// In a goroutine of its own: nobody recovers from it there, as a server of HTTP calls would.
			go func() { panic("crash on demand at stage " + stage) }()
			select {}
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}
	return nil
}

func held(raw string) bool {
	for _, f := range current.faults() {
		if f.raw == raw {
			return true
		}
	}
	return false
}

func wait(ctx context.Context, length time.Duration) error {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// first returns the first fault of that kind, if there is one.
func first(kind string) (fault, bool) {
	for _, f := range current.faults() {
		if f.kind == kind {
			return f, true
		}
	}
	return fault{}, false
}

// Now is the time that this node reports: the machine's clock, moved by the
// fault clock.
func Now() time.Time {
	f, _ := first(kindClock)
	return time.Now().Add(f.length)
}

// CertLife returns how long a client certificate that is signed now shall
// live, if a fault says so.
func CertLife() (time.Duration, bool) {
	f, found := first(kindCerts)
	return f.length, found
}

// Image returns the mode of the first image fault whose pattern matches. A
// pattern without a slash is matched against the name's last part.
func Image(image string) (mode string, found bool) {
	for _, f := range current.faults() {
		if f.kind != kindImage {
			continue
		}
		name := image
		if !strings.Contains(f.target, "/") {
			name = path.Base(image)
		}
		if match, _ := path.Match(f.target, name); match {
			return f.text, true
		}
	}
	return "", false
}

// SlowDisk holds lock for as long and as often as the fault disk says, until
// ctx ends. The lock is that of etcd's write transaction, so a held lock looks
// to etcd like a disk that does not finish a write.
func SlowDisk(ctx context.Context, lock sync.Locker) {
	for {
		f, found := first(kindDisk)
		pause := f.every
		if !found {
			pause = time.Second
		}
		if wait(ctx, pause) != nil {
			return
		}
		if !found {
			continue
		}
		lock.Lock()
		err := wait(ctx, f.length)
		lock.Unlock()
		if err != nil {
			return
		}
	}
}
