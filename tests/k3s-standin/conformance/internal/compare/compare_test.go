package compare

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"hmco-boot/k3s-standin/conformance/internal/record"
)

func recordedCases(t *testing.T) []*record.Case {
	t.Helper()
	cases, err := record.Load("../../../recordings")
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) != 388 {
		t.Fatalf("%d cases, not 388", len(cases))
	}
	return cases
}

func caseNamed(t *testing.T, id string) *record.Case {
	t.Helper()
	for _, c := range recordedCases(t) {
		if c.ID() == id {
			return c
		}
	}
	t.Fatalf("no case %s", id)
	return nil
}

func asRecorded(c *record.Case) Got {
	got := Got{Stdout: c.Stdout, Stderr: c.Stderr, Journal: c.Journal, During: c.Journal}
	if c.Exit != nil {
		got.Exit = *c.Exit
	}
	return got
}

// withoutCuts takes the marks of cuts out: a run has no such lines.
func withoutCuts(text string) string {
	var out []string
	for _, line := range strings.Split(text, "\n") {
		if line != gapMark {
			out = append(out, strings.Replace(line, cutMark, " and so on, for as long as the line is", 1))
		}
	}
	return strings.Join(out, "\n")
}

// another run: other times, hashes, ports, numbers and addresses, each the same wherever it was the same.
func anotherRun(c *record.Case, text string) string {
	shift := func(r rune) rune {
		switch {
		case r >= 'a' && r < 'f', r >= '0' && r < '9':
			return r + 1
		case r == 'f':
			return 'a'
		case r == '9':
			return '0'
		}
		return r
	}
	each := func(pattern string, by func(string) string) {
		text = regexp.MustCompile(pattern).ReplaceAllStringFunc(text, by)
	}
	hex := func(s string) string {
		if strings.Contains(c.Command, s) {
			return s
		}
		return strings.Map(shift, s)
	}
	each(`(?:^|[^-0-9a-zK])(?:K10)?[0-9a-f]{64}\b`, func(s string) string {
		if !strings.Contains("0123456789abcdefK", s[:1]) {
			return s[:1] + hex64(hex, s[1:])
		}
		return hex64(hex, s)
	})
	each(`\b(start|prepare|rotate|reencrypt_active|reencrypt_finished)-[0-9a-f]{6,64}`, func(s string) string {
		stage, rest, _ := strings.Cut(s, "-")
		return stage + "-" + hex(rest)
	})
	each(`\bn\d-[0-9a-f]{8}\b`, func(s string) string { return s[:3] + hex(s[3:]) })
	each(`2026-11-21`, func(string) string { return "2027-01-03" })
	each(`\b1795(\d{6})\b`, func(s string) string { return "1796" + s[4:] })
	each(`172\.30\.7\.`, func(string) string { return "172.30.101." })
	each(`127\.0\.0\.1:[345]\d{4}`, func(s string) string { return "127.0.0.1:4" + s[11:] })
	each(`error ID \d{5}`, func(string) string { return "error ID 12345" })
	return text
}

func hex64(hex func(string) string, s string) string {
	if rest, ok := strings.CutPrefix(s, "K10"); ok {
		return "K10" + hex(rest)
	}
	return hex(s)
}

var elsewhere = NewPlace(map[string]string{
	"172.30.101.11": "n1", "172.30.101.12": "n2", "172.30.101.13": "n3", "172.30.101.14": "n4",
})

func TestEveryRecordedCaseIsAsRecorded(t *testing.T) {
	known := map[string]*Identities{}
	for _, c := range recordedCases(t) {
		if known[c.File] == nil {
			known[c.File] = NewIdentities()
		}
		for _, d := range Case(c, asRecorded(c), Recorded, known[c.File]) {
			t.Errorf("%s %s: %s", c.ID(), c.Title, d)
		}
	}
}

func TestAnotherRunWithOtherTimesHashesAndAddressesIsAsRecorded(t *testing.T) {
	known := map[string]*Identities{}
	for _, c := range recordedCases(t) {
		if known[c.File] == nil {
			known[c.File] = NewIdentities()
		}
		if strings.Contains(c.Stdout, "k   e   y   -") {
			continue // the time in a dump of single characters
		}
		got := asRecorded(c)
		got.Stdout, got.Stderr = anotherRun(c, withoutCuts(got.Stdout)), anotherRun(c, withoutCuts(got.Stderr))
		journal := anotherRun(c, withoutCuts(strings.Join(got.Journal, "\n")))
		got.Journal = strings.Split(journal, "\n")
		got.During = got.Journal
		for _, d := range Case(c, got, elsewhere, known[c.File]) {
			t.Errorf("%s %s: %s", c.ID(), c.Title, d)
		}
	}
}

// silent is a case without what it printed, which is quicker to compare.
func silent(c *record.Case) *record.Case {
	quiet := *c
	quiet.Stdout, quiet.Stderr = "", ""
	return &quiet
}

func TestAnotherExitCodeIsADifference(t *testing.T) {
	for _, c := range recordedCases(t) {
		if luck := luckyCases[c.ID()]; c.Exit == nil || luck.exits != nil {
			continue
		}
		c = silent(c)
		got := asRecorded(c)
		got.Exit++
		if len(Case(c, got, Recorded, NewIdentities())) == 0 {
			t.Errorf("%s: exit %d passes for %d", c.ID(), got.Exit, *c.Exit)
		}
	}
}

// What is left of a text after one of its lines is gone, or has another word in it, must not pass.
func mutations(seen map[string]int, text string) map[string]string {
	out := map[string]string{}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, line := range lines {
		words := regexp.MustCompile(`[A-Za-z]{4,}`).FindAllStringIndex(line, -1)
		if seen[line]++; line == gapMark || len(words) == 0 || seen[line] > 1 {
			continue
		}
		without := append(append([]string{}, lines[:i]...), lines[i+1:]...)
		out[fmt.Sprintf("without line %d: %s", i+1, line)] = strings.Join(without, "\n") + "\n"
		at := words[0]
		changed := append([]string{}, lines...)
		changed[i] = line[:at[0]] + "Changed" + line[at[1]:]
		out[fmt.Sprintf("line %d changed: %s", i+1, changed[i])] = strings.Join(changed, "\n") + "\n"
	}
	return out
}

// plain says that a case is compared line by line.
func plain(c *record.Case) bool {
	r := rulesFor(c)
	_, lucky := luckyCases[c.ID()]
	return !lucky && !r.start && !r.polled && !r.journalOut && !r.transient && !r.repeats
}

func TestEveryLineOfStdoutCounts(t *testing.T) {
	tried, seen := 0, map[string]int{}
	for _, c := range recordedCases(t) {
		if !plain(c) || strings.Contains(c.Stdout, "-----BEGIN") || strings.Contains(c.Stdout, gapMark) {
			continue
		}
		for name, text := range mutations(seen, c.Stdout) {
			got := asRecorded(c)
			got.Stdout = text
			tried++
			if len(Case(c, got, Recorded, NewIdentities())) == 0 {
				t.Errorf("%s passes %s", c.ID(), name)
			}
		}
	}
	if tried < 1500 {
		t.Errorf("only %d mutations tried", tried)
	}
}

func TestEveryLineOfStderrCountsButForNoise(t *testing.T) {
	tried, seen := 0, map[string]int{}
	for _, c := range recordedCases(t) {
		r := rulesFor(c)
		if _, lucky := luckyCases[c.ID()]; lucky || r.transient || strings.Contains(c.Stderr, gapMark) {
			continue
		}
		for name, text := range mutations(seen, c.Stderr) {
			got := asRecorded(c)
			got.Stderr = text
			if r.serverLog && !countsInALog(c.Stderr, text) {
				continue
			}
			tried++
			if len(Case(c, got, Recorded, NewIdentities())) == 0 {
				t.Errorf("%s passes %s", c.ID(), name)
			}
		}
	}
	if tried < 400 {
		t.Errorf("only %d mutations tried", tried)
	}
}

// countsInALog says whether two logs differ in the set of the lines that are compared.
func countsInALog(a, b string) bool {
	r := reader{place: Recorded}
	set := func(text string) map[string]bool {
		out := map[string]bool{}
		for _, line := range compared(r.lines(text)) {
			out[line.Text] = true
		}
		return out
	}
	have := set(b)
	for text := range set(a) {
		if !have[text] {
			return true
		}
	}
	return false
}

func TestALineMoreIsADifference(t *testing.T) {
	for _, c := range recordedCases(t) {
		if !plain(c) || strings.HasSuffix(strings.TrimSpace(c.Stdout), gapMark) {
			continue
		}
		got := asRecorded(c)
		got.Stdout += "one line more\n"
		if len(Case(c, got, Recorded, NewIdentities())) == 0 {
			t.Errorf("%s passes with a line more", c.ID())
		}
	}
}

func TestARecordedLineMissingInTheJournalIsADifference(t *testing.T) {
	tried := 0
	for _, c := range recordedCases(t) {
		r := reader{place: Recorded}
		journal := strings.Join(c.Journal, "\n")
		if luck, lucky := luckyCases[c.ID()]; lucky {
			journal = withoutLines(journal, luck.lines)
		}
		if !c.HasJournal || len(compared(r.lines(journal))) == 0 {
			continue
		}
		got := asRecorded(c)
		got.Journal, got.During = []string{"something else"}, nil
		tried++
		if len(Case(c, got, Recorded, NewIdentities())) == 0 {
			t.Errorf("%s passes without its journal", c.ID())
		}
	}
	if tried < 60 {
		t.Errorf("only %d tried", tried)
	}
}

func TestAFatalLineThatWasNotRecordedIsADifference(t *testing.T) {
	for _, c := range recordedCases(t) {
		if !c.HasJournal {
			continue
		}
		c = silent(c)
		got := asRecorded(c)
		got.During = append(append([]string{}, got.During...), `time="2026-11-21T09:00:00Z" level=fatal msg="something new"`)
		if len(Case(c, got, Recorded, NewIdentities())) == 0 {
			t.Errorf("%s passes with a fatal line", c.ID())
		}
	}
}

func TestAHashThatWasTheSameMustBeTheSame(t *testing.T) {
	c := caseNamed(t, "02-secrets-encryption-single/1")
	got := asRecorded(c)
	// The annotation, which comes last.
	at := strings.LastIndex(got.Stdout, "start-c5d7404f")
	got.Stdout = got.Stdout[:at] + "start-00000000" + got.Stdout[at+len("start-c5d7404f"):]
	expectDifference(t, c, got, NewIdentities(), "identity of a hash")
}

func TestAHashMustNotStayTheSameWhereItChanged(t *testing.T) {
	known := NewIdentities()
	first, second := caseNamed(t, "02-secrets-encryption-single/1"), caseNamed(t, "02-secrets-encryption-single/11")
	if found := Case(first, asRecorded(first), Recorded, known); len(found) > 0 {
		t.Fatal(found)
	}
	got := asRecorded(second)
	got.Stdout = strings.ReplaceAll(got.Stdout, "fdb36c2b4f1afeef59834f4069ac20298c862711906990ada7ac2cf72116e8ea",
		"c5d7404f570993eb0ffba5166817271aee2b2a1daa6e11f1a9fcdc0515caad30")
	expectDifference(t, second, got, known, "identity of a hash")
}

func TestTheOlderKeyMustBeTheOlderOne(t *testing.T) {
	c := caseNamed(t, "02-secrets-encryption-single/20")
	got := asRecorded(c)
	swap := strings.NewReplacer("T09:10:52Z", "T09:12:10Z", "T09:12:10Z", "T09:10:52Z")
	got.Stdout = swap.Replace(got.Stdout)
	expectDifference(t, c, got, NewIdentities(), "identity of a key")
}

func expectDifference(t *testing.T, c *record.Case, got Got, known *Identities, what string) {
	t.Helper()
	found := Case(c, got, Recorded, known)
	if len(found) == 0 || found[0].What != what {
		t.Errorf("%s: %v, not a difference in: %s", c.ID(), found, what)
	}
}
