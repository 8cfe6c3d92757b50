package suite

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hmco-boot/k3s-standin/conformance/internal/compare"
	"hmco-boot/k3s-standin/conformance/internal/record"
)

var two = []*record.Case{
	{File: "04-x", Number: 1, Title: "first"}, {File: "04-x", Number: 2, Title: "a | b"},
}

func load(t *testing.T, rows ...string) (Known, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "README.md")
	text := "words\n" + listBegin + "\n| Case | Title | Reason |\n|---|---|---|\n" + strings.Join(rows, "\n") + "\n" + listEnd + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return LoadKnown(path, two)
}

func TestTheListOfKnownDifferencesIsReadFromTheReadme(t *testing.T) {
	known, err := load(t, "| 04-x/1 | first | there is no such thing |", `| 04-x/2 | a \| b | it is another one |`)
	if err != nil || len(known) != 2 || known["04-x/2"] != "it is another one" {
		t.Errorf("%v, %v", known, err)
	}
}

func TestARowThatNamesNoCaseOrAnotherTitleOrNoReasonIsAnError(t *testing.T) {
	for _, row := range []string{
		"| 04-x/3 | first | there is no such thing |", "| 04-x/1 | second | there is no such thing |",
		"| 04-x/1 | first |  |", "| 04-x/1 | first | no reason |",
	} {
		if known, err := load(t, row); err == nil {
			t.Errorf("%s is read as %v", row, known)
		}
	}
	if _, err := load(t, "| 04-x/1 | first | there is no such thing |", "| 04-x/1 | first | there is no such thing |"); err == nil {
		t.Error("a case may be listed twice")
	}
}

func TestTheListHasToBeExact(t *testing.T) {
	differs := []compare.Difference{{What: "exit", Expected: "0", Got: "1"}}
	for _, try := range []struct {
		differences []compare.Difference
		listed      bool
		want        Verdict
		ok          bool
	}{
		{nil, false, Passed, true}, {differs, true, Listed, true}, {differs, false, Failed, false}, {nil, true, Stale, false},
	} {
		known := Known{}
		if try.listed {
			known["04-x/1"] = "there is no such thing"
		}
		report := NewReport("k3s", two, map[string]Result{"04-x/1": {Case: two[0], Differences: try.differences}}, known)
		if len(report.Cases) != 1 || report.Cases[0].Verdict != try.want || report.OK() != try.ok {
			t.Errorf("%+v: %+v", try, report)
		}
	}
}
