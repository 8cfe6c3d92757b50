package compare

import (
	"regexp"
	"strings"

	"hmco-boot/k3s-standin/conformance/internal/record"
)

// rules say how a case is compared where it is not line by line.
type rules struct {
	// start: the output holds what firststart.sh prints; compared column by column (see start.go).
	start bool
	// polled: a loop that prints whenever something has changed; only what it saw last is compared.
	polled bool
	// serverLog: a server in the foreground; its log is compared as a journal is.
	serverLog bool
	// journalOut: the command prints lines of the journal; compared as a journal is.
	journalOut bool
	// unordered: the order of lines is that of a Go map, or of two commands at once.
	unordered bool
	// repeats: how often a line comes follows from when one looks; each different line counts once.
	repeats bool
	// looping: the unit is restarted again and again; how often it was, and what it does just now, follows from when one
	// looks.
	looping bool
	// transient: just after a restart, when an answer may still be `EOF`.
	transient bool
}

// unorderedCases print lines in an order that is another one each time.
var unorderedCases = map[string]string{
	"01-first-start/12":   "two of the apiserver's checks are added in an order that varies",
	"04-etcd-snapshot/8":  "two commands at once write to one stream",
	"04-etcd-snapshot/20": "events are listed by the names of their objects, which vary",
	"04-etcd-snapshot/17": "prune deletes in the order of a map",
	"04-etcd-snapshot/22": "prune deletes in the order of a map",
	"05-restore-single/7": "snapshots of one moment are listed by their names, which vary",
	"05-restore-ha/17":    "sorted by their number",
	"07-certificates/1":   "services are gone through in the order of a map",
	"07-certificates/2":   "services are gone through in the order of a map",
	"07-certificates/6":   "services are gone through in the order of a map",
	"07-certificates/7":   "services are gone through in the order of a map",
	"07-certificates/9":   "files are looked for in the order of a map",
	"06-tokens-joins/14":  "services are gone through in the order of a map",
}

// journalCases print lines of the journal.
var journalCases = map[string]string{
	"02-secrets-encryption-kill/3": "the last fatal lines", "02-secrets-encryption-kill/7": "the last fatal lines",
	"03-ha-enable-on-existing/26": "", "03-ha-enable-on-existing/27": "", "03-ha-enable-on-existing/28": "",
	"05-restore-ha/4": "what the agent says of servers that are gone", "05-restore-ha/10": "lines counted",
	"05-restore-older-key/8": "fatal lines", "06-token-rotate/26": "", "06-tokens-joins/8": "who was refused",
	"08-quorum-loss/6": "errors of two minutes", "09-config-errors/9": "lines about cron",
}

// loopingCases look at a unit in a crash loop.
var loopingCases = map[string]string{
	"02-secrets-encryption-kill/3": "minutes later", "02-secrets-encryption-kill/7": "25 s later",
}

// luck is what of a case could as well have been otherwise: which of two things that go on at once is first.
type luck struct {
	// lines are left out of both outputs.
	lines *regexp.Regexp
	// exits are exit codes that are as good as the recorded one.
	exits []int
	// only, where given: it holds only for a run that has said a line like this: where it went as recorded, all is compared.
	only *regexp.Regexp
	// why says what the two things are.
	why string
}

// holds says whether the rule holds for a run.
func (l luck) holds(got Got) bool {
	if l.only == nil {
		return true
	}
	for _, line := range strings.Split(got.Stdout+"\n"+got.Stderr, "\n") {
		if l.only.MatchString(line) {
			return true
		}
	}
	return false
}

var (
	removed = regexp.MustCompile(`Removing local snapshot`)
	busy    = regexp.MustCompile(`took too long|request stats|slow fdatasync|failed to send out heartbeat`)
	learner = regexp.MustCompile(`Failed to check local etcd status for learner management`)
)

var luckyCases = map[string]luck{
	"04-etcd-snapshot/12": {regexp.MustCompile(`^local-hmco-d-`), []int{0, 1}, nil,
		"the object is there until the next scheduled snapshot, which comes while the command runs"},
	"02-secrets-encryption-kill/9": {regexp.MustCompile(`Failed to reset failed state of unit`), nil, nil,
		"systemd forgets a stopped unit unless something refers to it"},
	"02-secrets-encryption-kill/10": {regexp.MustCompile(`Tunnel watches failed to wait`), nil, nil,
		"left out of the recording's middle: the same stop has the line in the case after it"},
	"02-secrets-encryption-kill/11": {regexp.MustCompile(`^(?:Encryption Status|Current Rotation Stage|Server Encryption Hashes): |^Active +Key|^------ |AES-CBC|^\s*$|v1-k3s/encrypt/status`), nil,
		regexp.MustCompile(`v1-k3s/encrypt/status\\?": EOF`),
		"whether status answers 20 s after reencrypt has not"},
	"02-secrets-encryption-kill/12": {regexp.MustCompile(`Tunnel watches failed to wait`), nil, nil,
		"whether the apiserver has tried to read the Secrets again since they can be read"},
	"03-ha/4": {regexp.MustCompile(`not supported for learner`), nil, nil,
		"the server is a learner for a moment only, in which a scheduled snapshot came due"},
	"03-ha-enable-on-existing/7": {regexp.MustCompile(`^(?:NAMESPACE |default +canary2? |kube-system |rc=\d|.*unable to transform key)`), nil,
		regexp.MustCompile(`^NAMESPACE `),
		"whether a list comes from the apiserver's watch cache, which does not know a Secret that it cannot read, or from etcd: " +
			"both are recorded, cases 29 to 31"},
	"03-ha-enable-on-existing/27": {regexp.MustCompile(`already complete and initialized|Starting temporary etcd`), nil, nil,
		"whether the start lies within the last minute, and within the last 15 lines, of which a busy etcd has some"},
	"03-ha-enable-on-existing/29": {regexp.MustCompile(`^(?:NAME |canary |via2 |rc=\d|.*unable to transform key)`), nil,
		regexp.MustCompile(`^NAME `), "as case 7: here the recorded list failed, in the next two it did not"},
	"03-ha-enable-on-existing/30": {regexp.MustCompile(`^(?:NAME |canary |via3 |rc=\d|.*unable to transform key)`), nil,
		regexp.MustCompile(`unable to transform key`), "as case 29"},
	"03-ha-enable-on-existing/31": {regexp.MustCompile(`^(?:NAME |canary |via4 |rc=\d|.*unable to transform key)`), nil,
		regexp.MustCompile(`unable to transform key`), "as case 29"},
	"03-ha/5": {regexp.MustCompile(`^\["n3"`), nil, nil,
		"a server says that its member votes some 8 s after its start"},
	"03-ha/29": {removed, nil, nil, "how many snapshots there have been by then, and so whether one had to go"},
	"03-ha/30": {removed, nil, nil, "as above"},
	"03-ha/31": {removed, nil, nil, "as above"},
	"05-restore-ha/8": {regexp.MustCompile(`n1\.node-password\.k3s`), nil, nil,
		"the node's password is stored again two or three seconds after a restored server is up"},
	"05-restore-older-key/3": {regexp.MustCompile(`n4\.node-password\.k3s`), nil, nil, "as above"},
	"05-restore-ha/11": {learner, nil, nil,
		"a server says so while it waits to join, if that takes longer than 15 s"},
	"05-restore-ha/12": {learner, nil, nil, "as above"},
	"05-restore-ha/17": {busy, nil, nil, "etcd's warnings about a machine that is busy"},
	"05-restore-ha/18": {busy, nil, nil, "as above"},
	"08-quorum-loss/2": {regexp.MustCompile(`^n2 `), nil, nil,
		"whether a server that has been off for 45 s counts as lost follows from when it renewed its lease last"},
	"08-quorum-loss/5": {regexp.MustCompile(`^hmco-`), nil, nil,
		"the command takes the last two of a list in the order of a map"},
	"08-quorum-loss/6": {regexp.MustCompile(`failed to get etcd MemberList: context deadline exceeded`), nil, nil,
		"of two minutes the last 15 lines are shown, and how often the others asked meanwhile is theirs"},
	"09-config-errors/6": {regexp.MustCompile(`Failed to ensure lease exists, will retry`), nil, nil,
		"whether the first controller asks for its lease before or after the namespace is made"},
	"05-restore-bad-files/9": {regexp.MustCompile(`\.node-password\.k3s`), nil, nil,
		"the node's password is stored again about when the node is Ready"},
	"05-restore-bad-files/12": {regexp.MustCompile(`^(?:No resources found in default|NAME +DATA|kube-root-ca\.crt )`), nil, nil,
		"the new cluster's first ConfigMap is made about when the node is Ready"},
}

// polledCases are loops of which the recording has cut off the line by which they are known.
var polledCases = map[string]string{"08-quorum-loss/4": "prints what has changed"}

var loopState = regexp.MustCompile(`(?m)^(NRestarts=)[1-9]\d*$|^(SubState=)(?:auto-restart|start)$`)

func withoutLoop(text string) string {
	return loopState.ReplaceAllString(text, "$1$2(in a crash loop)")
}

// repeatedCases list what a schedule has made.
var repeatedCases = map[string]string{
	"03-ha/29": "scheduled snapshots", "03-ha/30": "scheduled snapshots", "03-ha/31": "scheduled snapshots",
	"03-ha/32": "scheduled snapshots", "04-etcd-snapshot/22": "scheduled snapshots", "04-etcd-snapshot/26": "scheduled snapshots",
	"05-restore-single/7":  "scheduled snapshots",
	"05-restore-single/10": "moved databases", "05-restore-single/11": "moved databases", "05-restore-single/12": "moved databases",
	"05-restore-single/13": "moved databases", "05-restore-single/15": "moved databases",
}

// foreign are lines in a recorded journal that come from another node, on which something else was tried meanwhile.
var foreign = map[string]*regexp.Regexp{
	"02-secrets-encryption-off-single/32": regexp.MustCompile(`(?:from|to) 172\.30\.7\.14:`),
	"02-secrets-encryption-off-single/33": regexp.MustCompile(`(?:from|to) 172\.30\.7\.14:`),
	"06-tokens-joins/8":                   regexp.MustCompile(`reason="SecretsUpdateComplete"`),
}

// own gives a recorded text without foreign lines.
func own(c *record.Case, text string) string {
	if pattern := foreign[c.ID()]; pattern != nil {
		return withoutLines(text, pattern)
	}
	return text
}

var unknownFlag = regexp.MustCompile(`level=warning msg="Unknown flag --\S+ found in config\.yaml, skipping`)

// withoutWarnings leaves the warnings of `k3s etcd-snapshot` about the server's own configuration out of what a run
// said, where whoever recorded has left them out: in all files but the first.
func withoutWarnings(c *record.Case, got string) string {
	if !strings.Contains(c.Command, "etcd-snapshot") || unknownFlag.MatchString(c.Stderr+c.Stdout) {
		return got
	}
	return withoutLines(got, unknownFlag)
}

var (
	transientError = regexp.MustCompile(`v1-k3s/encrypt/status\\?": EOF|(?:details|error): Internal error occurred: secret-encrypt error ID`)
	loop           = regexp.MustCompile(`\[ "\$\w" != "\$p" \]`)
)

func rulesFor(c *record.Case) rules {
	var r rules
	r.start = strings.Contains(c.Command, "firststart.sh")
	r.polled = loop.MatchString(c.Command) && !r.start && !strings.Contains(c.Command, "reencrypt --force")
	if _, cut := polledCases[c.ID()]; cut {
		r.polled = true
	}
	r.serverLog = strings.Contains(c.Stderr, `msg="Starting k3s v`)
	_, r.journalOut = journalCases[c.ID()]
	_, r.repeats = repeatedCases[c.ID()]
	_, r.looping = loopingCases[c.ID()]
	_, r.unordered = unorderedCases[c.ID()]
	r.transient = transientError.MatchString(c.Stderr) && strings.Contains(c.Command, "secrets-encrypt status; echo")
	return r
}

// Hasty says that a case is recorded as it is even in the first seconds after a restart; before any other command K3s is
// given the time to answer.
func Hasty(c *record.Case) bool {
	return !strings.Contains(c.Command, "secrets-encrypt") || rulesFor(c).transient || strings.Contains(c.Command, "systemctl restart") ||
		strings.Contains(c.Stderr, "EOF") || strings.Contains(c.Stdout, "EOF")
}

// withoutTransient puts aside what is a matter of luck in the first seconds after a restart: each answer of `k3s
// secrets-encrypt status` may be the recorded one or "EOF". Where the recording has the EOF, any answer does; where the
// run has it instead of an answer, that is left out of both. That there is such a time at all is compared by the case
// "How long after systemctl restart returns does status fail?".
func withoutTransient(c *record.Case, got Got) (*record.Case, Got) {
	copied := *c
	copied.Stderr, got.Stderr = withoutLines(c.Stderr, transientError), withoutLines(got.Stderr, transientError)
	wanted, found := answers(c.Stdout), answers(got.Stdout)
	for i := range wanted {
		if i >= len(found) || !wanted[i].status {
			continue
		}
		if wanted[i].failed() || found[i].failed() {
			wanted[i].text, found[i].text = "(just after a restart)\n", "(just after a restart)\n"
		}
	}
	copied.Stdout, got.Stdout = joined(wanted), joined(found)
	return &copied, got
}

// answer is the part of an output up to and with a line `-- rc=N`.
type answer struct {
	text   string
	status bool
}

var rcLine = regexp.MustCompile(`(?m)^(?:-- )?rc=\d+\n`)

func (a answer) failed() bool {
	rest := strings.TrimSpace(rcLine.ReplaceAllString(a.text, ""))
	return rest == ""
}

// answers splits an output; the first two answers are those of `status`.
func answers(text string) []answer {
	var list []answer
	for len(list) < 2 {
		at := rcLine.FindStringIndex(text)
		if at == nil {
			break
		}
		list = append(list, answer{text[:at[1]], true})
		text = text[at[1]:]
	}
	return append(list, answer{text, false})
}

func joined(list []answer) string {
	var text strings.Builder
	for _, a := range list {
		text.WriteString(a.text)
	}
	return text.String()
}

func withoutLines(text string, pattern *regexp.Regexp) string {
	var out []string
	for _, line := range strings.SplitAfter(text, "\n") {
		if !pattern.MatchString(line) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

var sighting = regexp.MustCompile(`(?m)^\d+(?:\.\d+)? (?:ms |s |\{)?`)

// lastPolled keeps of an output's sightings (each begins with a time) the last, and all that is no sighting. A sighting
// ends where the next one begins or with the line that closes it.
func lastPolled(text string) string {
	at := sighting.FindAllStringIndex(text, -1)
	if len(at) < 2 {
		return text
	}
	return text[:at[0][0]] + text[at[len(at)-1][0]:]
}
