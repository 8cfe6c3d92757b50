package version

import (
	"strconv"
	"strings"
)

// AtLeast says whether the program behaves as a K3s of that version or a later one.
func AtLeast(major, minor, patch int) bool {
	have := parse(Version)
	want := [3]int{major, minor, patch}
	for i := range have {
		if have[i] != want[i] {
			return have[i] > want[i]
		}
	}
	return true
}

func parse(v string) [3]int {
	var out [3]int
	v, _, _ = strings.Cut(strings.TrimPrefix(v, "v"), "+")
	for i, part := range strings.SplitN(v, ".", 3) {
		out[i], _ = strconv.Atoi(part)
	}
	return out
}
