package suite

import (
	"fmt"
	"os"
	"strings"

	"hmco-boot/k3s-standin/conformance/internal/record"
)

// Known has the reason for each case in which the stand-in knowingly differs.
type Known map[string]string

const (
	listBegin = "<!-- differences: begin -->"
	listEnd   = "<!-- differences: end -->"
)

// LoadKnown reads the list in the README: rows `| CASE | TITLE | REASON |` between two marks.
func LoadKnown(path string, cases []*record.Case) (Known, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	_, list, found := strings.Cut(string(text), listBegin)
	list, _, ended := strings.Cut(list, listEnd)
	if !found || !ended {
		return nil, fmt.Errorf("%s: no list between %s and %s", path, listBegin, listEnd)
	}
	titles := map[string]string{}
	for _, c := range cases {
		titles[c.ID()] = c.Title
	}
	known := Known{}
	for _, row := range strings.Split(strings.TrimSpace(list), "\n") {
		cells := strings.Split(strings.Trim(strings.TrimSpace(row), "|"), " | ")
		if len(cells) < 3 || strings.HasPrefix(strings.TrimSpace(cells[0]), "Case") || strings.HasPrefix(row, "|--") {
			continue
		}
		id, title := strings.TrimSpace(cells[0]), strings.TrimSpace(cells[1])
		reason := strings.TrimSpace(strings.Join(cells[2:], " | "))
		switch {
		case titles[id] == "":
			return nil, fmt.Errorf("%s: there is no case %s", path, id)
		case strings.ReplaceAll(titles[id], "|", "\\|") != title:
			return nil, fmt.Errorf("%s: case %s is called %q, not %q", path, id, titles[id], title)
		case known[id] != "":
			return nil, fmt.Errorf("%s: case %s is listed twice", path, id)
		case len(reason) < 10:
			return nil, fmt.Errorf("%s: case %s has no reason", path, id)
		}
		known[id] = reason
	}
	return known, nil
}
