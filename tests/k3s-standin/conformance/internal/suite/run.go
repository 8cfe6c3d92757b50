package suite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"hmco-boot/k3s-standin/conformance/internal/compare"
	"hmco-boot/k3s-standin/conformance/internal/lab"
	"hmco-boot/k3s-standin/conformance/internal/record"
)

// Result is how a case went.
type Result struct {
	Case        *record.Case
	Differences []compare.Difference
	Seconds     float64
}

// runNext runs the next recorded command and has it compared.
func (s *Session) runNext() {
	s.checkDone()
	c := s.cases[s.next]
	s.next++
	node := s.Node(c.Node)
	if !compare.Hasty(c) {
		_, _ = node.Run(calm, time.Minute)
	}
	begun := time.Now()
	previous, ok := s.starts[c.Node]
	if !ok {
		previous = s.begun
	}
	s.starts[c.Node] = begun
	// What is recorded of a journal may begin with lines of the case before.
	since := previous.Add(-2 * time.Second)
	result, err := node.Run(s.Command(c), limit(c))
	got := compare.Got{Exit: result.Exit, Stdout: result.Stdout, Stderr: result.Stderr}
	seconds := time.Since(begun).Seconds()
	if c.HasJournal {
		s.collectJournal(c, node, since, begun, &got)
	}
	var differences []compare.Difference
	switch {
	case errors.Is(err, lab.ErrTimeout) && c.Exit == nil:
		differences = compare.Case(c, got, s.place, s.known)
	case err != nil:
		differences = []compare.Difference{{What: "run", Expected: fmt.Sprintf("an end after %.1f s", c.Seconds), Got: err.Error()}}
	default:
		differences = compare.Case(c, got, s.place, s.known)
	}
	s.keep(c, got)
	if !s.options.Selected(c) {
		return
	}
	s.judge(c, differences, seconds)
}

// calm waits until `status` no longer fails as it does in the first seconds after a start.
const calm = `for i in $(seq 1 60); do
k3s secrets-encrypt status 2>&1 | grep -qE 'EOF"|secret-encrypt error ID|not ready' || break; sleep 0.3; done`

// judge notes how a case went.
func (s *Session) judge(c *record.Case, differences []compare.Difference, seconds float64) {
	s.results[c.ID()] = Result{Case: c, Differences: differences, Seconds: seconds}
	verdict := "ok     "
	if len(differences) > 0 {
		verdict = "DIFFERS"
	}
	fmt.Fprintf(s.options.Log, "%s %s %s (%.1f s, recorded %.1f s)\n", verdict, c.ID(), record.Short(c.Title, 70), seconds, c.Seconds)
	if s.options.Verbose {
		for _, d := range differences {
			fmt.Fprintf(s.options.Log, "  %s\n", d)
		}
	}
}

// limit is how long a command may take: thrice as long as recorded, and a minute more.
func limit(c *record.Case) time.Duration {
	return time.Minute + time.Duration(3*c.Seconds*float64(time.Second))
}

// How often, and with what pauses, recorded lines of the journal are looked for after a command's end.
const (
	journalLooks = 24 // a scheduled snapshot begins up to five seconds after its minute
	journalPause = 300 * time.Millisecond
)

func (s *Session) collectJournal(c *record.Case, node Machine, since, begun time.Time, got *compare.Got) {
	for look := 1; ; look++ {
		lines, during, err := journal(node, since, begun)
		if err != nil {
			got.Journal = []string{err.Error()}
			return
		}
		got.Journal, got.During = lines, during
		if look == journalLooks || !compare.Missing(c, lines, s.place) {
			return
		}
		s.Sleep(journalPause)
	}
}

var journalLine = regexp.MustCompile(`^(\d+\.\d+) \S+ k3s\[\d+\]: (.*)$`)

// journal reads what K3s has written since a time, and of that what it has written since another.
func journal(node Machine, since, begun time.Time) (lines, during []string, err error) {
	command := fmt.Sprintf("journalctl -q -u k3s -u k3s-agent -o short-unix --no-pager --since @%d.%06d",
		since.Unix(), since.Nanosecond()/1000)
	result, err := node.Run(command, time.Minute)
	if err != nil {
		return nil, nil, err
	}
	for _, text := range strings.Split(result.Stdout, "\n") {
		groups := journalLine.FindStringSubmatch(text)
		if groups == nil {
			continue
		}
		lines = append(lines, groups[2])
		at, _ := strconv.ParseFloat(groups[1], 64)
		if at >= float64(begun.UnixMicro())/1e6 {
			during = append(during, groups[2])
		}
	}
	return lines, during, nil
}

// keep writes what a command said beside what was recorded.
func (s *Session) keep(c *record.Case, got compare.Got) {
	if s.options.Artifacts == "" {
		return
	}
	dir := filepath.Join(s.options.Artifacts, c.File, fmt.Sprintf("%03d", c.Number))
	if os.MkdirAll(dir, 0o755) != nil {
		return
	}
	for name, text := range map[string]string{
		"command": c.Command + "\n", "stdout.recorded": c.Stdout, "stdout.got": got.Stdout,
		"stderr.recorded": c.Stderr, "stderr.got": got.Stderr,
		"journal.recorded": strings.Join(c.Journal, "\n"), "journal.got": strings.Join(got.Journal, "\n"),
	} {
		_ = os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
	}
}
