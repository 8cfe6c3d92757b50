// Package suite runs scenarios: it lets hand-written set-ups and recorded commands take turns, has what the commands
// said compared, and keeps account of every case.
package suite

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"hmco-boot/k3s-standin/conformance/internal/compare"
	"hmco-boot/k3s-standin/conformance/internal/lab"
	"hmco-boot/k3s-standin/conformance/internal/record"
)

// Machine is a node that commands run on.
type Machine interface {
	Address() string
	// Run runs a bash command line as root; the error is lab.ErrTimeout where it did not end.
	Run(command string, limit time.Duration) (lab.Result, error)
	// Must does the same and wants it to succeed; it gives what it printed.
	Must(command string, limit time.Duration) (string, error)
	Write(path string, content []byte, mode string) error
	// Reset takes away all that K3s has left.
	Reset() error
	// Become gives the machine the name of a node in the recordings.
	Become(name string) error
}

// Machines are the nodes there are, and an address among theirs at which nothing listens.
type Machines struct {
	Nodes  []Machine
	Nobody string
}

// Scenario is one recordings file with its set-up in code.
type Scenario struct {
	// File is the recordings file, without ".md".
	File string
	// Nodes are the names of the nodes it begins with, in the order in which the lab's nodes take them on.
	Nodes []string
	// Count is how many nodes of the lab it needs, where that is more than it begins with.
	Count int
	// Shapes are the recorded JSON documents that it compares on its way.
	Shapes []string
	// Run goes through the cases. A failing set-up panics with a setupError; see Session.Do.
	Run func(*Session)
}

// Session is one run of one scenario.
type Session struct {
	// Vars are what commands and set-ups hand to each other.
	Vars  map[string]string
	cases []*record.Case
	// shapes are the JSON documents that are to be compared.
	shapes []string
	next   int
	// last is the place of the last case that is wanted.
	last    int
	lab     Machines
	nodes   map[string]Machine
	place   compare.Place
	known   *compare.Identities
	results map[string]Result
	starts  map[string]time.Time
	// begun is when the nodes were readied: journals are read from there on for the first case.
	begun   time.Time
	options Options
}

// Options of a run.
type Options struct {
	// Selected says whether a case is to be judged; the cases before it run, too, for they are its set-up.
	Selected func(*record.Case) bool
	// Recordings is the folder with the recordings.
	Recordings string
	// Artifacts is a folder for what commands said; empty for none.
	Artifacts string
	// Log gets a line for each case.
	Log io.Writer
	// Sleep waits; time.Sleep but in tests.
	Sleep func(time.Duration)
	// Verbose has differences printed as they are found.
	Verbose bool
}

type setupError struct{ err error }

// finished is panicked with once all wanted cases of a scenario have run.
type finished struct{}

// NewSession readies the nodes for a scenario.
func NewSession(s Scenario, cases []*record.Case, l Machines, options Options) (*Session, error) {
	session := &Session{
		Vars: map[string]string{}, cases: cases, shapes: s.Shapes, lab: l, results: map[string]Result{},
		starts: map[string]time.Time{}, options: options, last: -1, begun: time.Now(),
	}
	for i, c := range cases {
		if options.Selected(c) {
			session.last = i
		}
	}
	if session.last < 0 {
		return session, nil
	}
	return session, session.cast(s.Nodes)
}

// Needs says how many nodes of the lab the scenario takes.
func (s Scenario) Needs() int { return max(s.Count, len(s.Nodes)) }

// cast gives the lab's nodes their parts, with nothing left of K3s on them.
func (s *Session) cast(names []string) error {
	s.nodes, s.place = map[string]Machine{}, compare.NewPlace(map[string]string{})
	s.known = compare.NewIdentities()
	for i, name := range names {
		node := s.lab.Nodes[i]
		s.nodes[name] = node
		s.place.Nodes[node.Address()] = name
		if err := errors.Join(node.Reset(), node.Become(name)); err != nil {
			return err
		}
	}
	// Nodes that are only named: nothing listens there.
	for _, name := range []string{"n1", "n2", "n3", "n4"} {
		if s.nodes[name] == nil {
			s.place.Nodes[s.lab.Nobody] = name
		}
	}
	return nil
}

// Cast begins anew with other nodes, where a recordings file goes on with another cluster.
func (s *Session) Cast(names ...string) {
	s.checkDone()
	if err := s.cast(names); err != nil {
		s.Fail("%w", err)
	}
}

// NotRun says of all cases of a scenario that they could not be run.
func NotRun(scenario Scenario, cases []*record.Case, options Options, err error) map[string]Result {
	session := Session{cases: cases, shapes: scenario.Shapes, results: map[string]Result{}, options: options}
	return session.Play(func(*Session) { panic(setupError{err}) })
}

// Play runs the scenario and gives an outcome for every case of its file that was selected.
func (s *Session) Play(run func(*Session)) map[string]Result {
	failure := s.play(run)
	cases := s.cases
	for _, shape := range s.shapes {
		cases = append(cases[:len(cases):len(cases)], ShapeCase(shape))
	}
	for _, c := range cases {
		if _, done := s.results[c.ID()]; done || !s.options.Selected(c) {
			continue
		}
		reason := "the scenario ended before this case"
		if failure != nil {
			reason = failure.Error()
		}
		s.results[c.ID()] = Result{Case: c, Differences: []compare.Difference{{
			What: "not run", Expected: "the case to be reached", Got: record.Short(reason, 2000)}}}
		fmt.Fprintf(s.options.Log, "NOT RUN %s %s\n", c.ID(), record.Short(c.Title, 70))
	}
	return s.results
}

func (s *Session) play(run func(*Session)) (err error) {
	defer func() {
		switch problem := recover().(type) {
		case nil, finished:
		case setupError:
			err = problem.err
			fmt.Fprintf(s.options.Log, "  set-up: %s\n", strings.ReplaceAll(record.Short(err.Error(), 1500), "\n", "\n    "))
		default:
			panic(problem)
		}
	}()
	run(s)
	return nil
}

func (s *Session) checkDone() {
	if s.next > s.last && s.last < len(s.cases)-1 {
		panic(finished{})
	}
}

// Forget lets the values that vary (keys, hashes) be other ones from here on: the recording went on with another state.
func (s *Session) Forget() { s.known = compare.NewIdentities() }

// Later does something while the following cases run.
func (s *Session) Later(after time.Duration, node, command string) {
	on, command := s.Node(node), s.adapt(command)
	time.AfterFunc(after, func() { _, _ = on.Run(command, time.Minute) })
}

// AtSecond waits for a second of the minute.
func (s *Session) AtSecond(second int) {
	s.checkDone()
	now := time.Now()
	at := now.Truncate(time.Minute).Add(time.Duration(second) * time.Second)
	if at.Before(now) {
		at = at.Add(time.Minute)
	}
	s.Sleep(time.Until(at))
}

// AtNextSecond waits for a second to begin.
func (s *Session) AtNextSecond() {
	s.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
}

// Sleep waits.
func (s *Session) Sleep(d time.Duration) { s.options.Sleep(d) }

// Next is the case that comes next.
func (s *Session) Next() *record.Case {
	s.checkDone()
	return s.cases[s.next]
}

// Fail ends the scenario: what is needed for the next cases could not be brought about.
func (s *Session) Fail(format string, args ...any) { panic(setupError{fmt.Errorf(format, args...)}) }

// Node gives a node by its name in the recordings.
func (s *Session) Node(name string) Machine {
	node := s.nodes[name]
	if node == nil {
		s.Fail("the scenario has no node %s", name)
	}
	return node
}

func (s *Session) where() string {
	if s.next < len(s.cases) {
		return "before case " + s.cases[s.next].ID()
	}
	return "after the last case"
}

// Do runs commands of the set-up on a node, one after the other; each has to succeed.
func (s *Session) Do(node string, commands ...string) string {
	s.checkDone()
	var out string
	for _, command := range commands {
		var err error
		out, err = s.Node(node).Must(s.adapt(command), 5*time.Minute)
		if err != nil {
			s.Fail("%s, %s: %w", node, s.where(), err)
		}
	}
	return strings.TrimSpace(out)
}

// Try runs a command of the set-up that may fail, and gives its exit code and both streams.
func (s *Session) Try(node, command string) (int, string) {
	result, err := s.Node(node).Run(s.adapt(command), 5*time.Minute)
	if err != nil {
		s.Fail("%s: %w\n$ %s", node, err, command)
	}
	return result.Exit, result.Stdout + result.Stderr
}

// Until repeats a command until it succeeds.
func (s *Session) Until(node, command string, limit time.Duration) {
	deadline := time.Now().Add(limit)
	for {
		result, err := s.Node(node).Run(s.adapt(command), time.Minute)
		if err == nil && result.Exit == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.Fail("%s, %s: not true within %s: %s\n%s%s", node, s.where(), limit, command, result.Stdout, result.Stderr)
		}
		s.Sleep(200 * time.Millisecond)
	}
}

// Config writes the node's config.yaml.
func (s *Session) Config(node string, lines ...string) {
	s.checkDone()
	text := s.adapt(strings.Join(lines, "\n")) + "\n"
	if err := s.Node(node).Write("/etc/rancher/k3s/config.yaml", []byte(text), "644"); err != nil {
		s.Fail("%w", err)
	}
}

// Through runs the recorded cases in their order up to the next one with this title.
func (s *Session) Through(title string) {
	end := s.next
	for ; end < len(s.cases) && s.cases[end].Title != title; end++ {
	}
	if end == len(s.cases) {
		s.Fail("no case %q after case %d of %s", title, s.next, s.cases[0].File)
	}
	for s.next <= end {
		s.runNext()
	}
}

// Run runs the next recorded cases: as many as titles are given, which have to be theirs.
func (s *Session) Run(titles ...string) {
	for _, title := range titles {
		if s.next >= len(s.cases) || s.cases[s.next].Title != title {
			s.Fail("the next case of %s is not %q", s.cases[0].File, title)
		}
		s.runNext()
	}
}

// Rest runs all that is left.
func (s *Session) Rest() {
	for s.next < len(s.cases) {
		s.runNext()
	}
}
