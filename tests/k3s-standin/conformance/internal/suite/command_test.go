package suite

import (
	"strings"
	"testing"

	"hmco-boot/k3s-standin/conformance/internal/record"
)

func TestCommandsThatWereCutAreCompleted(t *testing.T) {
	cases, err := record.Load("../../../recordings")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, c := range cases {
		if !strings.HasSuffix(c.Command, "[...]") {
			continue
		}
		found++
		command := whole(c.ID(), c.Command)
		begin := strings.TrimSuffix(c.Command, " [...]")
		if completed[c.ID()] == "" || !strings.HasPrefix(command, begin) || len(command) <= len(begin) {
			t.Errorf("%s is not completed: %s", c.ID(), command)
		}
		if strings.Count(command, `"`)%2 != 0 {
			t.Errorf("%s has an odd number of quotes: %s", c.ID(), command)
		}
	}
	if found != len(completed) {
		t.Errorf("%d commands were cut, %d are completed", found, len(completed))
	}
}
