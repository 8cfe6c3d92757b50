package scenarios

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"hmco-boot/k3s-standin/conformance/internal/lab"
	"hmco-boot/k3s-standin/conformance/internal/record"
	"hmco-boot/k3s-standin/conformance/internal/suite"
)

// parrot is a machine that answers recorded commands with what was recorded, and set-ups with success.
type parrot struct {
	stage   *stage
	address string
}

// stage is what the parrots of one scenario share.
type stage struct {
	session *suite.Session
	cases   []*record.Case
	nodes   []string
	next    int
	journal []string
	spoil   string
	setups  []string
}

func (p *parrot) Address() string { return p.address }

func (p *parrot) Run(command string, _ time.Duration) (lab.Result, error) {
	s := p.stage
	if s.next < len(s.cases) && command == s.session.Command(s.cases[s.next]) {
		c := s.cases[s.next]
		s.next++
		s.journal = c.Journal
		result := lab.Result{Stdout: p.stage.here(c.Stdout), Stderr: p.stage.here(c.Stderr)}
		if c.Exit != nil {
			result.Exit = *c.Exit
		}
		if c.ID() == s.spoil {
			result.Stdout += "one line more\n"
		}
		return result, nil
	}
	switch {
	case strings.HasPrefix(command, "journalctl -q -u k3s"):
		var out strings.Builder
		for _, line := range s.journal {
			fmt.Fprintf(&out, "%d.000000 n1 k3s[1]: %s\n", time.Now().Unix()-1, strings.TrimSuffix(s.here(line), " [...]"))
		}
		return lab.Result{Stdout: out.String()}, nil
	case strings.Contains(command, "short-unix"):
		return lab.Result{Stdout: fmt.Sprintf("%d.5\n", time.Now().Unix())}, nil
	case strings.Contains(command, "server-ca.crt | cut"):
		return lab.Result{Stdout: strings.Repeat("ab", 32) + "\n"}, nil
	case command == "systemctl is-active k3s":
		return lab.Result{Stdout: "activating\n"}, nil
	}
	s.setups = append(s.setups, command)
	return lab.Result{}, nil
}

// here has a recorded text as it would be in this run: nodes that are only named have the address of nobody.
func (s *stage) here(text string) string {
	for _, name := range []string{"n1", "n2", "n3", "n4"} {
		if !slices.Contains(s.nodes, name) && len(s.nodes) == 2 {
			text = strings.ReplaceAll(text, "172.30.7.1"+name[1:], nobody)
		}
	}
	return unmarked(text)
}

const nobody = "172.30.7.1"

// unmarked takes out the marks of cuts, which no run prints.
func unmarked(text string) string {
	text = strings.ReplaceAll(text, " [...]", strings.Repeat(" and more", 9))
	text = strings.ReplaceAll("\n"+text, "\n[...]\n", "\n")
	return strings.TrimPrefix(text, "\n")
}

func (p *parrot) Must(command string, limit time.Duration) (string, error) {
	result, err := p.Run(command, limit)
	return result.Stdout, err
}

func (p *parrot) Write(string, []byte, string) error { return nil }
func (p *parrot) Reset() error                       { return nil }
func (p *parrot) Become(string) error                { return nil }

func play(t *testing.T, scenario suite.Scenario, spoil string, selected func(*record.Case) bool) map[string]suite.Result {
	t.Helper()
	cases, err := record.Load("../../../recordings")
	if err != nil {
		t.Fatal(err)
	}
	of := record.Of(cases, scenario.File)
	s := &stage{cases: of, nodes: scenario.Nodes, spoil: spoil}
	machines := suite.Machines{Nobody: nobody}
	for i := range scenario.Needs() {
		number := fmt.Sprint(i + 1)
		if i < len(scenario.Nodes) {
			number = strings.TrimPrefix(scenario.Nodes[i], "n")
		}
		machines.Nodes = append(machines.Nodes, &parrot{s, "172.30.7.1" + number})
	}
	s.session, err = suite.NewSession(scenario, of, machines, suite.Options{
		Selected: selected, Recordings: "../../../recordings", Log: testLog{t}, Sleep: func(time.Duration) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s.session.Play(scenario.Run)
}

type testLog struct{ t *testing.T }

func (l testLog) Write(text []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(text)))
	return len(text), nil
}

func casesOnly(c *record.Case) bool { return c.Name == "" }

// asWhenRecorded says that every node has the address that it had when the recordings were made.
func asWhenRecorded(s suite.Scenario) bool { return s.Count == 0 }

func TestEveryScenarioReachesAllCasesOfItsFile(t *testing.T) {
	reached := 0
	for _, scenario := range All {
		t.Run(scenario.File, func(t *testing.T) {
			for id, result := range play(t, scenario, "", casesOnly) {
				reached++
				for _, d := range result.Differences {
					if d.What == "not run" || asWhenRecorded(scenario) {
						t.Errorf("%s: %s", id, d)
					}
				}
			}
		})
	}
	if reached != 388 {
		t.Errorf("%d cases reached, not 388", reached)
	}
}

func TestADifferenceIsReportedForItsCaseAlone(t *testing.T) {
	for _, scenario := range All {
		if scenario.File != "07-certificates" {
			continue
		}
		for id, result := range play(t, scenario, "07-certificates/5", casesOnly) {
			if (len(result.Differences) > 0) != (id == "07-certificates/5") {
				t.Errorf("%s: %v", id, result.Differences)
			}
		}
	}
}

func TestOnlyWhatIsChosenIsJudgedAndNothingRunsAfterIt(t *testing.T) {
	for _, scenario := range All {
		if scenario.File != "08-quorum-loss" {
			continue
		}
		results := play(t, scenario, "", func(c *record.Case) bool { return c.ID() == "08-quorum-loss/3" })
		if len(results) != 1 || results["08-quorum-loss/3"].Case == nil {
			t.Errorf("%v", results)
		}
	}
}

func TestEveryRecordingsFileHasAScenarioAndEveryDocumentIsCompared(t *testing.T) {
	cases, err := record.Load("../../../recordings")
	if err != nil {
		t.Fatal(err)
	}
	have, shapes := map[string]bool{}, map[string]bool{}
	for _, s := range All {
		have[s.File] = true
		for _, shape := range s.Shapes {
			shapes[shape] = true
		}
	}
	for _, file := range record.Files(cases) {
		if !have[file] {
			t.Errorf("%s has no scenario", file)
		}
	}
	entries, err := os.ReadDir("../../../recordings")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), ".json") && !shapes[entry.Name()] {
			t.Errorf("%s is compared by no scenario", entry.Name())
		}
	}
}
