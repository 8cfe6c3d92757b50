// The conformance suite: it holds a K3s (the stand-in, or a real one) to what was recorded of the real K3s.
//
//	go run ./conformance -k3s PATH [-only FILE,CASE,...] [-choice ci]
package main

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hmco-boot/k3s-standin/conformance/internal/lab"
	"hmco-boot/k3s-standin/conformance/internal/record"
	"hmco-boot/k3s-standin/conformance/internal/scenarios"
	"hmco-boot/k3s-standin/conformance/internal/suite"
)

type settings struct {
	k3s, program, labName, labDir string
	recordings, readme            string
	only, choice                  string
	out, findings                 string
	nodes, jobs                   int
	real, keep, verbose, list     bool
}

func main() {
	var s settings
	flag.StringVar(&s.k3s, "k3s", os.Getenv("K3S"), "the K3s to hold to the recordings (default: $K3S)")
	flag.StringVar(&s.program, "hmco-boot", env("HMCO_BOOT", "hmco-boot"), "the hmco-boot whose lab is used")
	flag.StringVar(&s.labName, "lab", "k3s-conformance", "the lab's name")
	flag.StringVar(&s.labDir, "lab-dir", env("HMCO_BOOT_LAB_DIR", "/var/lib/hmco-boot-lab"), "the folder with all labs")
	flag.StringVar(&s.recordings, "recordings", "recordings", "the folder with the recordings")
	flag.StringVar(&s.readme, "readme", "README.md", "where the known differences are listed")
	flag.StringVar(&s.only, "only", "", "cases to judge, separated by commas: a file, FILE/NUMBER, or FILE:part of a title")
	flag.StringVar(&s.choice, "choice", "all", "all, or ci for the files that fit into continuous integration")
	flag.StringVar(&s.out, "out", "", "a folder for what every command said, and for the report as text and JSON")
	flag.StringVar(&s.findings, "findings", "", "a file for what differs, in Markdown, written after each recordings file")
	flag.IntVar(&s.nodes, "nodes", 4, "how many nodes there may be; files that need more are left out, which is said")
	flag.IntVar(&s.jobs, "jobs", 1, "how many nodes to use at once for recordings files that need fewer")
	flag.BoolVar(&s.real, "real", false, "it is a real K3s: no differences are known")
	flag.BoolVar(&s.keep, "keep", false, "leave the nodes up")
	flag.BoolVar(&s.verbose, "v", false, "show differences as they are found")
	flag.BoolVar(&s.list, "list", false, "only list the cases")
	flag.Parse()
	ok, err := run(s)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func run(s settings) (bool, error) {
	cases, err := record.Load(s.recordings)
	if err != nil {
		return false, err
	}
	for _, scenario := range scenarios.All {
		for _, shape := range scenario.Shapes {
			cases = append(cases, suite.ShapeCase(shape))
		}
	}
	selected, err := selection(s, cases)
	if err != nil {
		return false, err
	}
	if s.list {
		for _, c := range cases {
			if selected(c) {
				fmt.Printf("%-40s %-3s %s\n", c.ID(), c.Node, c.Title)
			}
		}
		return true, nil
	}
	known := suite.Known{}
	if !s.real {
		if known, err = suite.LoadKnown(s.readme, cases); err != nil {
			return false, err
		}
	}
	if s.k3s == "" {
		return false, fmt.Errorf("no K3s named: set K3S=PATH or use -k3s PATH")
	}
	return play(s, cases, selected, known)
}

func play(s settings, cases []*record.Case, selected func(*record.Case) bool, known suite.Known) (bool, error) {
	begun := time.Now()
	chosen, left, count := choose(s, cases, selected)
	for _, file := range left {
		fmt.Printf("left out, as it needs more than %d nodes: %s\n", s.nodes, file)
	}
	if len(chosen) == 0 {
		return false, fmt.Errorf("no case is chosen")
	}
	// More nodes than one scenario needs are used for several at once.
	if s.jobs > 1 {
		count = min(s.nodes, max(count, s.jobs))
	}
	l, err := lab.Up(s.program, s.labName, s.labDir, count)
	if err != nil {
		return false, err
	}
	defer func() {
		if err := l.Down(s.keep); err != nil {
			fmt.Fprintln(os.Stderr, "warning:", err)
		}
	}()
	machines := suite.Machines{Nobody: l.Bridge()}
	for _, node := range l.Nodes()[:count] {
		if err := node.Prepare(s.k3s); err != nil {
			return false, err
		}
		machines.Nodes = append(machines.Nodes, node)
	}
	options := suite.Options{Selected: selected, Recordings: s.recordings, Artifacts: s.out, Log: os.Stdout,
		Sleep: time.Sleep, Verbose: s.verbose}
	results := map[string]suite.Result{}
	var report *suite.Report
	var failure error
	suite.Each(chosen, machines, func(scenario suite.Scenario, machines suite.Machines) map[string]suite.Result {
		fmt.Printf("== %s (%s)\n", scenario.File, strings.Join(scenario.Nodes, ", "))
		session, err := suite.NewSession(scenario, record.Of(cases, scenario.File), machines, options)
		if err != nil {
			return suite.NotRun(scenario, record.Of(cases, scenario.File), options, err)
		}
		return session.Play(scenario.Run)
	}, func(more map[string]suite.Result) {
		maps.Copy(results, more)
		report = suite.NewReport(s.k3s, cases, results, known)
		failure = errors.Join(failure, write(s, report))
	})
	if failure != nil {
		return false, failure
	}
	report.Text(os.Stdout)
	fmt.Printf("\n%s with the nodes' set-up\n", time.Since(begun).Round(time.Second))
	return report.OK() && len(left) == 0, nil
}

func write(s settings, report *suite.Report) error {
	if s.findings != "" {
		if err := report.Findings(s.findings); err != nil {
			return err
		}
	}
	if s.out == "" {
		return nil
	}
	if err := report.JSON(filepath.Join(s.out, "report.json")); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(s.out, "report.txt"))
	if err != nil {
		return err
	}
	defer file.Close()
	report.Text(file)
	return nil
}

// choose gives the scenarios that have selected cases, those of them that need too many nodes, and how many nodes the
// rest needs.
func choose(s settings, cases []*record.Case, selected func(*record.Case) bool) (chosen []suite.Scenario, left []string, count int) {
	for _, scenario := range scenarios.All {
		any := false
		for _, c := range record.Of(cases, scenario.File) {
			any = any || selected(c)
		}
		switch {
		case !any:
		case scenario.Needs() > s.nodes:
			left = append(left, scenario.File)
		default:
			chosen = append(chosen, scenario)
			count = max(count, scenario.Needs())
		}
	}
	return chosen, left, count
}

// selection makes of -only and -choice what is to be judged.
func selection(s settings, cases []*record.Case) (func(*record.Case) bool, error) {
	words := strings.FieldsFunc(s.only, func(r rune) bool { return r == ',' })
	switch s.choice {
	case "all":
	case "ci":
		if len(words) == 0 {
			words = scenarios.CI
		}
	default:
		return nil, fmt.Errorf("-choice is all or ci, not %q", s.choice)
	}
	if len(words) == 0 {
		return func(*record.Case) bool { return true }, nil
	}
	ids, whole := map[string]bool{}, map[string]bool{}
	for _, word := range words {
		file, title, byTitle := strings.Cut(word, ":")
		exact := slices.ContainsFunc(cases, func(c *record.Case) bool { return c.File == file })
		found := false
		for _, c := range cases {
			hit := c.ID() == word || c.File == file && !byTitle || strings.HasPrefix(c.File, file+"-") && !byTitle && !exact ||
				byTitle && strings.HasPrefix(c.File, file) && strings.Contains(c.Title, title)
			if hit {
				ids[c.ID()], found = true, true
				whole[c.File] = whole[c.File] || !byTitle && c.ID() != word
			}
		}
		if !found {
			return nil, fmt.Errorf("no case is %q", word)
		}
	}
	for _, scenario := range scenarios.All {
		for _, shape := range scenario.Shapes {
			id := suite.ShapeCase(shape).ID()
			ids[id] = ids[id] || whole[scenario.File]
		}
	}
	return func(c *record.Case) bool { return ids[c.ID()] }, nil
}
