package suite

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"hmco-boot/k3s-standin/conformance/internal/compare"
	"hmco-boot/k3s-standin/conformance/internal/record"
)

// Verdict is what is said of a case in the end.
type Verdict string

// The four verdicts; the last two fail the suite.
const (
	Passed Verdict = "passed"
	Listed Verdict = "listed"
	Failed Verdict = "failed"
	// Stale is a case that is on the list of known differences and is as recorded.
	Stale Verdict = "listed, but as recorded"
)

// Entry is a case in the report.
type Entry struct {
	ID          string               `json:"id"`
	Topic       string               `json:"topic"`
	Title       string               `json:"title"`
	Verdict     Verdict              `json:"verdict"`
	Reason      string               `json:"reason,omitempty"`
	Seconds     float64              `json:"seconds"`
	Differences []compare.Difference `json:"differences,omitempty"`
}

// Count has the verdicts of a topic.
type Count struct {
	Topic  string `json:"topic"`
	Cases  int    `json:"cases"`
	Passed int    `json:"passed"`
	Listed int    `json:"listed"`
	Failed int    `json:"failed"`
}

// Report is the outcome of a run.
type Report struct {
	K3s    string  `json:"k3s"`
	Total  Count   `json:"total"`
	Topics []Count `json:"topics"`
	Cases  []Entry `json:"cases"`
}

// NewReport judges results by the list of known differences.
func NewReport(k3s string, cases []*record.Case, results map[string]Result, known Known) *Report {
	r := &Report{K3s: k3s, Total: Count{Topic: "all"}}
	topics := map[string]*Count{}
	for _, c := range cases {
		result, ok := results[c.ID()]
		if !ok {
			continue
		}
		reason, listed := known[c.ID()]
		entry := Entry{ID: c.ID(), Topic: c.Topic(), Title: c.Title, Reason: reason, Seconds: result.Seconds,
			Differences: result.Differences}
		switch differs := len(result.Differences) > 0; {
		case differs && listed:
			entry.Verdict = Listed
		case differs:
			entry.Verdict = Failed
		case listed:
			entry.Verdict = Stale
		default:
			entry.Verdict = Passed
		}
		r.Cases = append(r.Cases, entry)
		if topics[entry.Topic] == nil {
			topics[entry.Topic] = &Count{Topic: entry.Topic}
		}
		for _, count := range []*Count{&r.Total, topics[entry.Topic]} {
			count.add(entry.Verdict)
		}
	}
	for _, count := range topics {
		r.Topics = append(r.Topics, *count)
	}
	sort.Slice(r.Topics, func(i, j int) bool { return r.Topics[i].Topic < r.Topics[j].Topic })
	return r
}

func (c *Count) add(v Verdict) {
	c.Cases++
	switch v {
	case Passed:
		c.Passed++
	case Listed:
		c.Listed++
	default:
		c.Failed++
	}
}

// OK says whether the list of known differences is exact.
func (r *Report) OK() bool { return r.Total.Failed == 0 }

// Text writes the report for a reader.
func (r *Report) Text(out io.Writer) {
	for _, entry := range r.Cases {
		if entry.Verdict != Failed && entry.Verdict != Stale {
			continue
		}
		fmt.Fprintf(out, "\n%s: %s %s\n", strings.ToUpper(string(entry.Verdict)), entry.ID, entry.Title)
		for _, d := range entry.Differences {
			fmt.Fprintf(out, "  %s\n", d)
		}
		if entry.Verdict == Stale {
			fmt.Fprintf(out, "  take it off the list: %s\n", entry.Reason)
		}
	}
	fmt.Fprintf(out, "\n%-16s %6s %6s %6s %6s\n", "topic", "cases", "passed", "listed", "failed")
	for _, count := range append(append([]Count(nil), r.Topics...), r.Total) {
		fmt.Fprintf(out, "%-16s %6d %6d %6d %6d\n", count.Topic, count.Cases, count.Passed, count.Listed, count.Failed)
	}
}

// Findings writes what differs, by case, for those who work on the stand-in.
func (r *Report) Findings(path string) error {
	var out strings.Builder
	fmt.Fprintf(&out, "# Conformance findings\n\n%d cases run: %d as recorded, %d known differences, %d failing.\n",
		r.Total.Cases, r.Total.Passed, r.Total.Listed, r.Total.Failed)
	out.WriteString("\nWritten by the suite; `expected` and `got` are normalised: <n1> is an address, <hash>, <key>, <time> vary.\n")
	topic := ""
	for _, entry := range r.Cases {
		if entry.Verdict != Failed && entry.Verdict != Stale {
			continue
		}
		if entry.Topic != topic {
			topic = entry.Topic
			fmt.Fprintf(&out, "\n## %s\n", topic)
		}
		fmt.Fprintf(&out, "\n### %s %s\n\n", entry.ID, entry.Title)
		if entry.Verdict == Stale {
			out.WriteString("on the list of known differences, but as recorded now\n")
		}
		for _, d := range entry.Differences {
			fmt.Fprintf(&out, "- %s\n  - expected: `%s`\n  - got: `%s`\n", d.What,
				strings.ReplaceAll(d.Expected, "\n", "`\n    `"), strings.ReplaceAll(d.Got, "\n", "`\n    `"))
		}
	}
	return os.WriteFile(path, []byte(out.String()), 0o644)
}

// JSON writes the report for programs.
func (r *Report) JSON(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
