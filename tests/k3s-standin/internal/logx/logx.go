// Package logx prints log lines in the form K3s prints them (logrus' text format without a terminal):
//
//	time="2026-11-21T09:10:52Z" level=info msg="Starting k3s agent v1.32.2+k3s1 (381620ef)"
//
// It does not print what Kubernetes (klog) and etcd (zap) say; they have their own forms.
package logx

import (
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"sync"
	"time"
)

// Fields are further key=value pairs of a line; they follow msg, sorted by key.
type Fields map[string]string

var (
	mu     sync.Mutex
	out    io.Writer = os.Stderr
	now              = time.Now
	debug  bool
	exitFn = os.Exit
)

// SetOutput sends all later lines to w; the default is stderr. It returns what was set before.
func SetOutput(w io.Writer) io.Writer {
	mu.Lock()
	defer mu.Unlock()
	old := out
	out = w
	return old
}

// SetDebug turns debug lines on.
func SetDebug(on bool) {
	mu.Lock()
	defer mu.Unlock()
	debug = on
}

// SetClock replaces the clock of the lines (fault "clock offset").
func SetClock(f func() time.Time) {
	mu.Lock()
	defer mu.Unlock()
	now = f
}

// Debugf prints a line of level debug when debugging is on.
func Debugf(format string, args ...any) {
	mu.Lock()
	on := debug
	mu.Unlock()
	if on {
		line("debug", fmt.Sprintf(format, args...), nil)
	}
}

// Infof prints a line of level info.
func Infof(format string, args ...any) { line("info", fmt.Sprintf(format, args...), nil) }

// Warnf prints a line of level warning.
func Warnf(format string, args ...any) { line("warning", fmt.Sprintf(format, args...), nil) }

// Errorf prints a line of level error.
func Errorf(format string, args ...any) { line("error", fmt.Sprintf(format, args...), nil) }

// Fatalf prints a line of level fatal and ends the process with status 1.
func Fatalf(format string, args ...any) {
	line("fatal", fmt.Sprintf(format, args...), nil)
	exitFn(1)
}

// With prints a line with fields.
func With(level string, fields Fields, format string, args ...any) {
	line(level, fmt.Sprintf(format, args...), fields)
}

func line(level, msg string, fields Fields) {
	var b strings.Builder
	mu.Lock()
	defer mu.Unlock()
	fmt.Fprintf(&b, "time=%q level=%s msg=%s", now().Format(time.RFC3339), level, quote(msg))
	keys := make([]string, 0, len(fields))
	for k := range fields {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		fmt.Fprintf(&b, " %s=%s", k, quote(fields[k]))
	}
	b.WriteByte('\n')
	_, _ = io.WriteString(out, b.String())
}

// quote leaves words of letters, digits and -._/@^+ as they are, as logrus does, and quotes all else.
func quote(s string) string {
	for _, r := range s {
		plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._/@^+", r)
		if !plain {
			return fmt.Sprintf("%q", s)
		}
	}
	return s
}
