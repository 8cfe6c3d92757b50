// Package compare says whether what a command said is what was recorded, after what varies from run to run has been
// put aside: times, names made from times, hashes, keys, ports, process numbers, durations, addresses. It is pure: it
// runs nothing and reads no files.
package compare

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// Place says how addresses of a run are called: by the node that has them.
type Place struct {
	// Nodes has a node's name by its address.
	Nodes map[string]string
	// seen remembers lines that were looked through: journals and recordings are read again and again.
	seen *sync.Map
}

// NewPlace names the nodes of a run by their addresses.
func NewPlace(nodes map[string]string) Place { return Place{Nodes: nodes, seen: &sync.Map{}} }

// Recorded is where the recordings were made.
var Recorded = NewPlace(map[string]string{
	"172.30.7.11": "n1", "172.30.7.12": "n2", "172.30.7.13": "n3", "172.30.7.14": "n4",
})

// Token is a value that varies between runs but must be the same wherever it was the same in the recording.
type Token struct {
	Class, Value string
}

// Line is one line of output after what varies was replaced by names in angle brackets.
type Line struct {
	// Text is the line with what varies replaced.
	Text string
	// Raw is the line as it was.
	Raw string
	// Gap marks a line of the recording that stands for any lines, also none.
	Gap bool
	// Cut marks a line of the recording of which only the beginning was kept.
	Cut bool
	// Tokens are the replaced values whose identity counts, by class and in order of place.
	Tokens []Token
}

// matches says whether a line of a run is the recorded one.
func (recorded Line) matches(got Line) bool {
	if recorded.Cut {
		return strings.HasPrefix(got.Text, recorded.Text)
	}
	return recorded.Text == got.Text
}

// reader turns text into lines. It is made for one stream of one case.
type reader struct {
	place Place
	// constants are values that the command itself names: these do not vary.
	constants []string
	// width is where the command itself cuts lines (cut -c1-N); 0 if it does not.
	width int
}

const (
	gapMark = "[...]"
	cutMark = " [...]"
	// cutSlack is how much of a cut line's end is not compared: what varies may have been cut in its middle.
	cutSlack = 24
)

var cutColumns = regexp.MustCompile(`cut -c1-(\d+)`)

func (r *reader) lines(text string) []Line {
	var lines []Line
	table := false
	for _, raw := range prepare(text) {
		line := r.remembered(raw)
		// The widths of a table's columns follow from all its rows, of which the command may have kept some.
		table = line.Text != "" && (table || header.MatchString(line.Text))
		if table && !strings.HasPrefix(line.Text, " ") {
			line.Text = spaces.ReplaceAllString(line.Text, " ")
		}
		lines = append(lines, line)
	}
	for len(lines) > 0 && lines[len(lines)-1].Text == "" {
		lines = lines[:len(lines)-1]
	}
	return sortMembers(lines)
}

func (r *reader) remembered(raw string) Line {
	key := fmt.Sprint(r.width, r.constants, raw)
	if line, ok := r.place.seen.Load(key); ok {
		return line.(Line)
	}
	line := r.line(raw)
	r.place.seen.Store(key, line)
	return line
}

func (r *reader) line(raw string) Line {
	line := Line{Raw: raw}
	text := strings.TrimRight(raw, " \t\r")
	switch {
	case text == gapMark:
		line.Gap = true
		line.Text = gapMark
		return line
	case strings.HasSuffix(text, cutMark):
		line.Cut = true
		text = strings.TrimSuffix(text, cutMark)
	case r.width >= 100 && len(raw) >= r.width-1:
		line.Cut = true
	}
	line.Text, line.Tokens = r.replace(text)
	if line.Cut && len(line.Text) > 2*cutSlack {
		line.Text = line.Text[:len(line.Text)-cutSlack]
	}
	return line
}

// values is a way of looking for what varies.
type values struct {
	pattern *regexp.Regexp
	// by replaces one finding; groups[0] is all of it.
	by func(r *reader, line *tokens, groups []string) string
}

// tokens collects the findings of one line.
type tokens struct{ list []Token }

func (t *tokens) add(class, value string) { t.list = append(t.list, Token{class, value}) }

func (r *reader) replace(text string) (string, []Token) {
	var found tokens
	if !strings.ContainsAny(text, "0123456789") {
		return layout(text), nil // nothing that varies is without a digit
	}
	for _, v := range allValues {
		text = v.pattern.ReplaceAllStringFunc(text, func(all string) string {
			return v.by(r, &found, v.pattern.FindStringSubmatch(all))
		})
	}
	return layout(text), found.list
}

func (r *reader) constant(value string) bool {
	for _, c := range r.constants {
		if c == value {
			return true
		}
	}
	return false
}

var (
	header   = regexp.MustCompile(`^[A-Z][A-Z0-9()/ -]+$|^Name +Location|NAME +SNAPSHOTNAME`)
	variable = regexp.MustCompile(`<(?:age|n|n\d|address|seconds|date|unix|size)>`)
	spaces   = regexp.MustCompile(` {2,}`)
	dashes   = regexp.MustCompile(`-{3,}`)
)

// layout undoes the widths of columns where they follow from values that vary.
func layout(text string) string {
	switch {
	case strings.HasPrefix(text, "+--"):
		return dashes.ReplaceAllString(text, "---")
	case header.MatchString(text), variable.MatchString(text), strings.HasPrefix(text, "|"):
		return spaces.ReplaceAllString(text, " ")
	}
	return text
}
