package compare

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"hmco-boot/k3s-standin/conformance/internal/record"
)

// Got is what a command of a run did.
type Got struct {
	Exit           int
	Stdout, Stderr string
	// Journal is the unit's journal from shortly before the command's start until it had settled.
	Journal []string
	// Fatal are the lines of it that were written while the command ran.
	During []string
}

// Difference is one thing that was not as recorded.
type Difference struct {
	// What names it: exit, stdout, stderr, journal, identity.
	What string `json:"what"`
	// Expected and Got say it, after normalising.
	Expected string `json:"expected"`
	Got      string `json:"got"`
}

func (d Difference) String() string {
	return fmt.Sprintf("%s\n  expected: %s\n  got:      %s", d.What, indent(d.Expected), indent(d.Got))
}

func indent(text string) string { return strings.ReplaceAll(text, "\n", "\n            ") }

// Case compares one case. Identities holds for all cases of one scenario; those of a case that is as recorded are added
// to it.
func Case(c *record.Case, got Got, place Place, known *Identities) []Difference {
	rules := rulesFor(c)
	var differences []Difference
	report := func(what, expected, found string) {
		differences = append(differences, Difference{what, expected, found})
	}
	if rules.transient {
		c, got = withoutTransient(c, got)
	}
	got.Stderr = withoutWarnings(c, got.Stderr)
	if strings.Contains(c.Command, "2>&1") {
		got.Stdout = withoutWarnings(c, got.Stdout)
	}
	luck, lucky := luckyCases[c.ID()]
	if lucky && luck.holds(got) {
		copied := *c
		c = &copied
		c.Stdout, got.Stdout = withoutLines(c.Stdout, luck.lines), withoutLines(got.Stdout, luck.lines)
		c.Stderr, got.Stderr = withoutLines(c.Stderr, luck.lines), withoutLines(got.Stderr, luck.lines)
		for _, journal := range []*[]string{&c.Journal, &got.Journal, &got.During} {
			*journal = strings.Split(withoutLines(strings.Join(*journal, "\n"), luck.lines), "\n")
		}
	}
	if c.Exit != nil && *c.Exit != got.Exit && !slices.Contains(luck.exits, got.Exit) {
		report("exit", strconv.Itoa(*c.Exit), strconv.Itoa(got.Exit))
	}
	streams := newStreams(c, place)
	var pairs []pair
	add := func(more []pair, found []Difference) {
		pairs = append(pairs, more...)
		differences = append(differences, found...)
	}
	add(streams.stdout(own(c, c.Stdout), got.Stdout, rules))
	add(streams.stderr(c.Stderr, got.Stderr, rules))
	if c.HasJournal {
		add(streams.log("journal", own(c, strings.Join(c.Journal, "\n")), strings.Join(got.Journal, "\n"),
			strings.Join(got.During, "\n")))
	}
	if len(differences) > 0 {
		return differences
	}
	trial := known.copy()
	for _, p := range pairs {
		if bad := trial.add(p); bad != nil {
			return []Difference{*bad}
		}
	}
	*known = *trial
	return nil
}

// streams compares the streams of one case.
type streams struct{ recorded, got reader }

var longHex = regexp.MustCompile(`\b[0-9a-f]{64}\b`)

func newStreams(c *record.Case, place Place) streams {
	constants := longHex.FindAllString(c.Command, -1)
	width := 0
	if groups := cutColumns.FindStringSubmatch(c.Command); groups != nil {
		width, _ = strconv.Atoi(groups[1])
	}
	return streams{
		recorded: reader{place: Recorded, constants: constants, width: width},
		got:      reader{place: place, constants: constants, width: width},
	}
}

func (s *streams) stdout(recorded, got string, rules rules) ([]pair, []Difference) {
	var differences []Difference
	if rules.start {
		var wanted, found start
		wanted, recorded = cutStart(recorded)
		found, got = cutStart(got)
		differences = append(differences, wanted.compare(found)...)
	}
	if rules.polled {
		recorded, got = lastPolled(recorded), lastPolled(got)
	}
	if rules.looping {
		recorded, got = withoutLoop(recorded), withoutLoop(got)
	}
	if rules.journalOut {
		pairs, more := s.log("stdout", recorded, got, "")
		return pairs, append(differences, more...)
	}
	pairs, more := s.text("stdout", recorded, got, rules)
	return pairs, append(differences, more...)
}

func (s *streams) stderr(recorded, got string, rules rules) ([]pair, []Difference) {
	if rules.serverLog {
		return s.log("stderr", recorded, got, got)
	}
	return s.text("stderr", recorded, got, rules)
}

// text compares line by line.
func (s *streams) text(what, recorded, got string, rules rules) ([]pair, []Difference) {
	wanted, found := s.recorded.lines(recorded), s.got.lines(got)
	if rules.repeats {
		wanted, found = once(wanted), once(found)
	}
	if rules.unordered {
		return unordered(what, wanted, found)
	}
	return ordered(what, wanted, found)
}

// once keeps the first of lines that are the same.
func once(lines []Line) []Line {
	seen := map[string]bool{}
	var out []Line
	for _, line := range lines {
		if !seen[line.Text] {
			seen[line.Text] = true
			out = append(out, line)
		}
	}
	return out
}

// ordered wants the recorded lines and no others, in their order; a gap stands for any lines.
func ordered(what string, wanted, found []Line) ([]pair, []Difference) {
	// reach[i][j]: the first i recorded lines can be the first j found.
	reach := make([][]bool, len(wanted)+1)
	for i := range reach {
		reach[i] = make([]bool, len(found)+1)
	}
	reach[0][0] = true
	furthest := 0
	for i, w := range wanted {
		for j := 0; j <= len(found); j++ {
			switch {
			case w.Gap:
				reach[i+1][j] = reach[i][j] || j > 0 && reach[i+1][j-1]
			case j > 0:
				reach[i+1][j] = reach[i][j-1] && w.matches(found[j-1])
			}
			if reach[i+1][j] {
				furthest = i + 1
			}
		}
	}
	if !reach[len(wanted)][len(found)] {
		return nil, []Difference{firstDifference(what, wanted, found, reach, furthest)}
	}
	return walk(wanted, found, reach), nil
}

// walk gives the lines that were found for recorded ones.
func walk(wanted, found []Line, reach [][]bool) []pair {
	var pairs []pair
	j := len(found)
	for i := len(wanted); i > 0; {
		if wanted[i-1].Gap {
			if j > 0 && reach[i][j-1] && !reach[i-1][j] {
				j--
				continue
			}
			i--
			continue
		}
		pairs = append(pairs, pair{wanted[i-1], found[j-1]})
		i, j = i-1, j-1
	}
	for a, b := 0, len(pairs)-1; a < b; a, b = a+1, b-1 {
		pairs[a], pairs[b] = pairs[b], pairs[a]
	}
	return pairs
}

func firstDifference(what string, wanted, found []Line, reach [][]bool, i int) Difference {
	j := 0
	for k := range reach[i] {
		if reach[i][k] {
			j = k
			break
		}
	}
	return Difference{what, excerpt(wanted, i), excerpt(found, j)}
}

// excerpt shows the lines from one on, with the number of those before.
func excerpt(lines []Line, from int) string {
	if from >= len(lines) {
		return fmt.Sprintf("(end after %d lines)", len(lines))
	}
	var out []string
	for i := from; i < len(lines) && i < from+3; i++ {
		out = append(out, record.Short(lines[i].Text, 400))
	}
	return fmt.Sprintf("(line %d) %s", from+1, strings.Join(out, "\n"))
}

// unordered wants the recorded lines and no others, in any order.
func unordered(what string, wanted, found []Line) ([]pair, []Difference) {
	used := make([]bool, len(found))
	var pairs []pair
	var differences []Difference
	gap := false
next:
	for _, w := range wanted {
		if w.Gap {
			gap = true
			continue
		}
		for j, f := range found {
			if !used[j] && w.matches(f) {
				used[j] = true
				pairs = append(pairs, pair{w, f})
				continue next
			}
		}
		differences = append(differences, Difference{what, record.Short(w.Text, 400), "(no such line)"})
	}
	for j, f := range found {
		if !used[j] && !gap {
			differences = append(differences, Difference{what, "(no such line)", record.Short(f.Text, 400)})
		}
	}
	return pairs, differences
}
