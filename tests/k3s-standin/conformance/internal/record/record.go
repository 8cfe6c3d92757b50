// Package record reads the recorded cases of the real K3s. It knows nothing of how they are run or compared.
package record

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Case is one recorded command and what it said.
type Case struct {
	// File is the recordings file, without ".md".
	File string
	// Number is the case's place in its file; the first is 1.
	Number int
	// Name is used in its stead where a case is not one of a numbered file.
	Name string
	// Title is the heading in the recordings; not unique within a file.
	Title string
	// State is the prose that says how things stood before.
	State string
	// Node is where the command ran: n1 to n4.
	Node string
	// Command is the shell command line, as recorded.
	Command string
	// Exit is the exit code; nil where none was recorded.
	Exit *int
	// Seconds is how long the command took.
	Seconds float64
	Stdout  string
	Stderr  string
	// Journal holds the lines of the unit's journal that were recorded; HasJournal says whether any were asked for.
	Journal    []string
	HasJournal bool
}

// ID names a case: the file and the case's place in it.
func (c *Case) ID() string {
	if c.Name != "" {
		return c.File + "/" + c.Name
	}
	return fmt.Sprintf("%s/%d", c.File, c.Number)
}

// Topic is the leading number of the file with its subject, as in "02-secrets".
func (c *Case) Topic() string { return Topic(c.File) }

// Topic gives the topic of a recordings file.
func Topic(file string) string {
	parts := strings.SplitN(file, "-", 3)
	if len(parts) < 2 {
		return file
	}
	return parts[0] + "-" + parts[1]
}

// Short gives the shape in which the recordings name a topic or a case where room is short.
func Short(text string, limit int) string {
	runes := []rune(text)
	if len(runes) <= limit {
		return text
	}
	return string(runes[:limit-1]) + "…"
}

type line struct {
	File    string   `json:"file"`
	Title   string   `json:"title"`
	State   string   `json:"state"`
	Node    string   `json:"node"`
	Command string   `json:"command"`
	Exit    *int     `json:"exit"`
	Seconds float64  `json:"seconds"`
	Stdout  string   `json:"stdout"`
	Stderr  string   `json:"stderr"`
	Journal []string `json:"journal"`
}

// Load reads cases.jsonl in the folder, in the order of the file.
func Load(dir string) ([]*Case, error) {
	path := filepath.Join(dir, "cases.jsonl")
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var cases []*Case
	numbers := map[string]int{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var raw line
		if err := json.Unmarshal(lines.Bytes(), &raw); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", path, len(cases)+1, err)
		}
		name := strings.TrimSuffix(raw.File, ".md")
		numbers[name]++
		cases = append(cases, &Case{
			File: name, Number: numbers[name], Title: raw.Title, State: raw.State, Node: raw.Node,
			Command: raw.Command, Exit: raw.Exit, Seconds: raw.Seconds,
			Stdout: raw.Stdout, Stderr: raw.Stderr, Journal: raw.Journal, HasJournal: raw.Journal != nil,
		})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return cases, nil
}

// Files lists the recordings files in the order in which they appear.
func Files(cases []*Case) []string {
	var files []string
	seen := map[string]bool{}
	for _, c := range cases {
		if !seen[c.File] {
			seen[c.File] = true
			files = append(files, c.File)
		}
	}
	return files
}

// Of gives the cases of one file, in order.
func Of(cases []*Case, file string) []*Case {
	var of []*Case
	for _, c := range cases {
		if c.File == file {
			of = append(of, c)
		}
	}
	return of
}
