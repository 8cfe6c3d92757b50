package compare

import (
	"fmt"
	"regexp"
	"strings"
)

// start is what firststart.sh printed: one sighting whenever something had changed. How long each state lasts, and so
// which of them are seen, follows from the machine. So each column is compared for itself: what it showed last must be
// the same, and it must have gone through states in the order in which K3s goes through them.
type start struct{ sightings [][columns]string }

const (
	colUnit = iota
	colAnonymous
	colPing
	colAdmin
	colNode
	colFiles
	columns
)

var columnNames = [columns]string{"unit", "anonymous /readyz", "/ping", "admin /readyz", "node", "files"}

// stages are the states that each column goes through; each recording shows some of them, none in another order.
var stages = [columns][]string{
	colUnit:      {"0 inactive dead", "0 activating start", "0 active running"},
	colAnonymous: {"000", "503 starting", "503 apiservernotready", "401 Unauthorized"},
	colPing:      {"000", "503", "200"},
	colAdmin:     {"000", "503", "500", "200"},
	colNode:      {"", "Node:True", "Node:Unknown", "Node:False", "Node:True"},
	colFiles:     {"0", "1", "2"},
}

var (
	sightingStart = regexp.MustCompile(`(?m)^\d+ ms +\d+ \w+ [\w-]+ +\| anon`)
	oneSighting   = regexp.MustCompile(`(?s)^\d+ ms +(\d+ \w+ [\w-]+) +\| anon /readyz: ?(.*?)http=(\d+) +\| /ping: ?(.*?) ?\| admin /readyz: ?(.*?)http=(\d+) +\| node: ?(\S*) +\| token\+kubeconfig files: (\d+)\n?`)
	anonMessage   = regexp.MustCompile(`"message":"(\w+)"`)
	pingCode      = regexp.MustCompile(`http=(\d+)`)
)

// cutStart takes the sightings out of an output.
func cutStart(text string) (start, string) {
	var s start
	var rest strings.Builder
	for {
		at := sightingStart.FindStringIndex(text)
		if at == nil {
			break
		}
		rest.WriteString(text[:at[0]])
		groups := oneSighting.FindStringSubmatch(text[at[0]:])
		if groups == nil {
			rest.WriteString(text[at[0]:at[1]])
			text = text[at[1]:]
			continue
		}
		s.sightings = append(s.sightings, sightingOf(groups))
		text = text[at[0]+len(groups[0]):]
	}
	rest.WriteString(text)
	return s, rest.String()
}

func sightingOf(groups []string) [columns]string {
	var one [columns]string
	one[colUnit] = groups[1]
	one[colAnonymous] = groups[3]
	if message := anonMessage.FindStringSubmatch(groups[2]); message != nil {
		one[colAnonymous] += " " + message[1]
	}
	// A body of /ping that is a refusal is so long that its code is cut off.
	one[colPing] = "503"
	if code := pingCode.FindStringSubmatch(groups[4]); code != nil {
		one[colPing] = code[1]
	}
	one[colAdmin] = groups[6]
	one[colNode] = groups[7]
	one[colFiles] = groups[8]
	return one
}

func (wanted start) compare(found start) []Difference {
	if len(wanted.sightings) == 0 || len(found.sightings) == 0 {
		if len(wanted.sightings) == len(found.sightings) {
			return nil
		}
		return []Difference{{"start", fmt.Sprintf("%d sightings", len(wanted.sightings)),
			fmt.Sprintf("%d sightings", len(found.sightings))}}
	}
	var differences []Difference
	for column := range columnNames {
		name := "start, " + columnNames[column]
		last, foundLast := wanted.last(column), found.last(column)
		if last != foundLast {
			differences = append(differences, Difference{name + " at the end", last, foundLast})
		}
		if bad := outOfOrder(stages[column], found.column(column)); bad != "" {
			differences = append(differences, Difference{name, strings.Join(stages[column], ", then "), bad})
		}
	}
	return differences
}

// last is what a column showed last. firststart.sh ends when the unit is active and the Node Ready: what was true then
// is only printed where it looked once more, so an answering apiserver with a Ready node is an active unit.
func (s start) last(column int) string {
	one := s.sightings[len(s.sightings)-1]
	if column == colUnit && one[colUnit] == "0 activating start" && one[colAdmin] == "200" && one[colNode] == "Node:True" {
		return "0 active running"
	}
	return one[column]
}

// column is what a column showed, one after the other, without repetitions.
func (s start) column(column int) []string {
	var out []string
	for _, one := range s.sightings {
		if len(out) == 0 || out[len(out)-1] != one[column] {
			out = append(out, one[column])
		}
	}
	return out
}

// outOfOrder gives what was seen if that is no part of the stages in their order. A refused connection may come at any
// time: the loop looks at one thing after the other while they change.
func outOfOrder(order, seen []string) string {
	at := 0
	for _, state := range seen {
		if state == "000" {
			continue
		}
		for at < len(order) && order[at] != state {
			at++
		}
		if at == len(order) {
			return strings.Join(seen, ", then ")
		}
	}
	return ""
}
