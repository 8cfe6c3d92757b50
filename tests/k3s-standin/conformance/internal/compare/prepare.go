package compare

import (
	"encoding/json"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

var (
	// etcd's own log, which K3s does not write.
	etcdLog = regexp.MustCompile(`^(?:\w{3} [ \d]\d \S+ n\d k3s\[\d+\]: )?\{"level":"`)
	// The stack below a panic names K3s' own functions and lines.
	stack = regexp.MustCompile(`^(?:goroutine \d+ \[|\t\S|[\w./()*-]+\(.*\)$|created by )`)
	pem   = regexp.MustCompile(`^[A-Za-z0-9+/]{40,64}={0,2}$`)
)

// simulatedKey is the annotation by which every Node of the stand-in says what it is; no other Node has it.
const simulatedKey = "hmco-boot/simulated"

var simulated = regexp.MustCompile(`^ *"` + simulatedKey + `": "true",$`)

// prepare splits text into lines and undoes what needs more than one line to be understood: dumps of raw values,
// stacks of panics, certificates, orders that mean nothing.
func prepare(text string) []string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	var out []string
	panicked, inPEM := false, false
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		if bytes, ok := dumped(line); ok {
			for i+1 < len(lines) {
				more, ok := dumped(lines[i+1])
				if !ok {
					break
				}
				bytes = append(bytes, more...)
				i++
			}
			out = append(out, "raw: "+rawValue(string(bytes)))
			continue
		}
		if strings.HasPrefix(line, "panic: ") {
			panicked = true
			out = append(out, line)
			continue
		}
		if panicked && (line == "" || stack.MatchString(line)) {
			continue
		}
		panicked = false
		if etcdLog.MatchString(line) {
			continue
		}
		if strings.HasPrefix(line, "-----BEGIN ") {
			inPEM = true
		}
		if strings.HasPrefix(line, "-----END ") {
			inPEM = false
		}
		if inPEM && (pem.MatchString(line) || strings.HasSuffix(line, "=")) {
			continue
		}
		if simulated.MatchString(line) {
			continue
		}
		out = append(out, sortedMembers(line))
	}
	return out
}

var octal = regexp.MustCompile(`^[0-3][0-7]{2}$`)

// dumped decodes a line of `od -An -c`: cells of four characters, right-aligned.
func dumped(line string) ([]byte, bool) {
	if len(line) < 16 || line[0] != ' ' || len(line) > 64 {
		return nil, false
	}
	for len(line)%4 != 0 {
		line += " "
	}
	var out []byte
	escaped := 0
	for i := 0; i < len(line); i += 4 {
		cell := strings.TrimLeft(line[i:i+4], " ")
		switch {
		case cell == "":
			out = append(out, ' ')
		case len(cell) == 1:
			out = append(out, cell[0])
		case octal.MatchString(cell):
			n, _ := strconv.ParseUint(cell, 8, 8)
			out = append(out, byte(n))
		case len(cell) == 2 && cell[0] == '\\':
			b, ok := map[byte]byte{'0': 0, 'a': 7, 'b': 8, 't': 9, 'n': 10, 'v': 11, 'f': 12, 'r': 13, '\\': '\\'}[cell[1]]
			if !ok {
				return nil, false
			}
			escaped++
			out = append(out, b)
		default:
			return nil, false
		}
	}
	return out, escaped >= 0
}

var encrypted = regexp.MustCompile(`(?s)^k8s:enc:\w+:v1:[A-Za-z0-9-]+(?:T[\d:]*Z?)?`)

// rawValue describes the first bytes of a value in etcd: all of a plain one, of an encrypted one the key's name.
func rawValue(bytes string) string {
	if !strings.HasPrefix(bytes, "k8s:enc:") {
		return strconv.QuoteToASCII(bytes)
	}
	name := encrypted.FindString(bytes)
	rest := bytes[len(name):]
	if name == "" || rest == "" {
		return bytes
	}
	return name + " <encrypted>"
}

type member struct {
	ID         json.Number `json:"ID"`
	Name       string      `json:"name"`
	PeerURLs   []string    `json:"peerURLs"`
	ClientURLs []string    `json:"clientURLs"`
	IsLearner  bool        `json:"isLearner,omitempty"`
}

var addedTo = regexp.MustCompile(` to etcd cluster \[([^\]]+)\]`)

var memberNames = regexp.MustCompile(`^(\S+ s +)?((?: ?n\d-[0-9a-f]{8}, (?:true|false);){2,})$`)

// sortedMembers puts the members of an etcd cluster in the order of their names: their own order follows from their
// identifiers, which vary.
func sortedMembers(line string) string {
	if groups := memberNames.FindStringSubmatch(line); groups != nil {
		names := strings.Split(strings.TrimSuffix(groups[2], ";"), ";")
		for i := range names {
			names[i] = strings.TrimSpace(names[i])
		}
		sort.Strings(names)
		return groups[1] + strings.Join(names, "; ") + ";"
	}
	if groups := addedTo.FindStringSubmatchIndex(line); groups != nil {
		names := strings.Fields(line[groups[2]:groups[3]])
		sort.Strings(names)
		return line[:groups[2]] + strings.Join(names, " ") + line[groups[3]:]
	}
	if !strings.HasPrefix(line, `{"members":[`) {
		return line
	}
	var list struct {
		Members []member `json:"members"`
	}
	if json.Unmarshal([]byte(line), &list) != nil {
		return line
	}
	sort.Slice(list.Members, func(i, j int) bool { return list.Members[i].Name < list.Members[j].Name })
	text, err := json.Marshal(list)
	if err != nil {
		return line
	}
	return string(text)
}

// sortMembers does the same for the rows of etcdctl's table.
func sortMembers(lines []Line) []Line {
	row := func(i int) bool { return strings.HasPrefix(lines[i].Text, "| <"+classMember+">") }
	for i := 0; i < len(lines); i++ {
		end := i
		for end < len(lines) && row(end) {
			end++
		}
		rows := lines[i:end]
		sort.SliceStable(rows, func(a, b int) bool { return rows[a].Text < rows[b].Text })
		i = max(i, end-1)
	}
	return lines
}
