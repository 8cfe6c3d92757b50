package compare

import (
	"fmt"
	"regexp"
	"strings"
)

// literal replaces by a fixed text, in which $1 and so on are the groups.
func literal(pattern, by string) values {
	return values{regexp.MustCompile(pattern), func(_ *reader, _ *tokens, groups []string) string {
		text := by
		for i := len(groups) - 1; i > 0; i-- {
			text = strings.ReplaceAll(text, fmt.Sprintf("$%d", i), groups[i])
		}
		return text
	}}
}

// token replaces the last group by a name and remembers its value; the first group, if there are two, is kept.
func token(pattern, class string) values {
	return values{regexp.MustCompile(pattern), func(r *reader, found *tokens, groups []string) string {
		value := groups[len(groups)-1]
		if r.constant(value) {
			return groups[0]
		}
		found.add(class, value)
		kept := ""
		if len(groups) > 2 {
			kept = groups[1]
		}
		return kept + "<" + class + ">"
	}}
}

// Classes of values whose identity counts.
const (
	classKey    = "key"
	classHash   = "hash"
	classMember = "member"
	classEtcd   = "etcd name"
)

// ports that are part of what K3s is; all others are picked by the kernel.
var fixedPorts = map[string]bool{
	"6443": true, "6444": true, "2379": true, "2380": true, "2381": true, "2382": true, "6999": true, "8080": true,
	"10250": true, "10248": true, "10249": true, "10256": true, "10257": true, "10258": true, "10259": true,
}

// allValues is what varies, in the order in which it is looked for.
var allValues = []values{
	literal(`^[a-z0-9]{6}\.[a-z0-9]{16}$`, "<bootstrap token>"),
	// Keys first: their names contain times.
	token(`(aescbckey-)(\d{4}-\d\d-\d\dT[\d:]*Z?)`, classKey),
	token(`(\[)((?:\d{1,3} ){31}\d{1,3})`, classHash),
	token(`\b((?:start|prepare|rotate|reencrypt_[a-z]+)-)([0-9a-f]{6,64})`, classHash),
	token(`\b(K10)([0-9a-f]{16,64})\b`, classHash),
	token(`\b([0-9a-f]{64})\b`, classHash),
	token(`\b(n\d-)([0-9a-f]{8})\b`, classEtcd),
	literal(`-(1[6-9]\d{8})((?:\.zip)?)-[0-9a-f]{6}\b`, "-<unix>$2-<6 hex>"),
	literal(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`, "<uuid>"),
	token(`\b([0-9a-f]{14,16})\b`, classMember),
	token(`\b(\d{17,20})\b`, classMember),
	{regexp.MustCompile(`\b[0-9a-f]{12}\b`), shortHash},
	{regexp.MustCompile(`\b172\.30\.\d{1,3}\.\d{1,3}\b`), address},
	{regexp.MustCompile(`(127\.0\.0\.1|\[::1\]|<n\d>|<address>|localhost):(\d{4,5})\b`), port},
	literal(`Get (\\?)"https://127\.0\.0\.1:6444/cacerts\\?": (?:EOF|read tcp \S+: read: connection reset by peer)"+`,
		"Get $1\"https://127.0.0.1:6444/cacerts$1\": <EOF or reset>"),
	// Which of its two addresses localhost stands for follows from the machine.
	literal(`dial tcp (?:127\.0\.0\.1|\[::1\]):8080`, "dial tcp <localhost>:8080"),
	// What a wrong key decrypts to is noise, which ends in one of these.
	literal(`invalid (?:padding on input|PKCS7 data \(empty or not padded\))`, "<decrypted with a wrong key>"),
	// Times.
	literal(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)`, "<time>"),
	literal(`\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? \+0000(?: UTC)?`, "<time>"),
	literal(`^([IWEF])\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ ([\w.]+):\d+\]`, "$1 $2]"),
	literal(`^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d (n\d) (\w+)\[\d+\]:`, "<date> $1 $2[<pid>]:"),
	literal(`\b[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d UTC \d{4}`, "<date>"),
	literal(`\b[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4} GMT`, "<time>"),
	literal(`\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d (?:\d\d:\d\d| \d{4})(?::\d\d)?`, "<time>"),
	literal(`\b\d\d:\d\d:\d\d\b`, "<clock>"),
	literal(`\b1[6-9]\d{8}(?:\.\d{3,9})?\b`, "<unix>"),
	// Files and folders, as `ls -l` and `find -printf` show them.
	{regexp.MustCompile(`^([bcdlps-][rwxstST-]{9}) +\d+ (\w+) +(\w+) +(\d+) <time> (.*)$`), listed},
	{regexp.MustCompile(`^([bcdlps-][rwxstST-]{9}) (\w+) (\d+) (/\S*)((?: ->.*)?)$`), found},
	literal(`^total \d+$`, "total <n>"),
	literal(`\b(coredns)-[0-9a-f]{8,10}-[a-z0-9]{5}\b`, "$1-<pod>"),
	// Numbers.
	literal(`\berror ID \d{5}\b`, "error ID <id>"),
	literal(`\bMainPID=\d+`, "MainPID=<pid>"),
	literal(`\bgoroutine \d+`, "goroutine <id>"),
	literal(`"secret":"[^"]*"`, `"secret":"<32 bytes base64>"`),
	literal(`"k3s.io/node-config-hash": "[A-Z2-7]+=*"`, `"k3s.io/node-config-hash": "<base32>"`),
	literal(`"resourceVersion": "\d+"`, `"resourceVersion": "<n>"`),
	literal(`"generation": \d+`, `"generation": <n>`),
	literal(`\bgo1\.\d+(?:\.\d+)?\b`, "<go>"),
	literal(`\(bookworm\) +\S+ +containerd:`, "(bookworm) <kernel> containerd:"),
	literal(`(^| )(\d+[dhms]){1,3}( |$)`, "$1<age>$3"),
	literal(`^\d+\.\d+$`, "<seconds>"),
	literal(`^\d+(?:\.\d+)? (ms|s)\b`, "<seconds> $1"),
	literal(`\bphase \d+, waiting \d+ s`, "phase <n>, waiting <n> s"),
	literal(`\b(polls|polled) \d+`, "$1 <n>"),
	literal(`\bafter \d+ polls`, "after <n> polls"),
	literal(`\breload(ed successfully) \d+ times`, "reload$1 <n> times"),
	literal(`\(reload success: \d+/\d+`, "(reload success: <n>/<n>"),
	literal(`\busing \d+ of \d+ bytes`, "using <n> of <n> bytes"),
	literal(`\brestart counter is at \d+`, "restart counter is at <n>"),
	literal(`(^|[ ="\[,])\d{5,9}\b`, "$1<n>"),
	// etcd's warnings, of which there are some 20 a second.
	literal(`^ *\d+ (warn|error) \| `, "<n> $1 | "),
	// Counted lines of binary data: some are missed where the data holds line ends.
	literal(`^ *\d+ (k8s:enc:)`, "<n> $1"),
	// Raw values as `tr -c "[:print:]" .` shows them: what follows the key's name is encrypted.
	literal(`^(k8s:enc:\w+:v1:[^:]*:).*$`, "$1<encrypted>"),
}

func shortHash(r *reader, found *tokens, groups []string) string {
	value := groups[0]
	if !strings.ContainsAny(value, "abcdef") && !strings.HasPrefix(value, "0") || r.constant(value) {
		return value
	}
	found.add(classHash, value)
	return "<" + classHash + ">"
}

func address(r *reader, _ *tokens, groups []string) string {
	if name, ok := r.place.Nodes[groups[0]]; ok {
		return "<" + name + ">"
	}
	return "<address>"
}

func port(_ *reader, _ *tokens, groups []string) string {
	if fixedPorts[groups[2]] {
		return groups[0]
	}
	return groups[1] + ":<port>"
}

// listed is a line of `ls -l`: mode, owner, group, size where it does not vary, name.
func listed(_ *reader, _ *tokens, groups []string) string {
	size := groups[4]
	if strings.HasPrefix(groups[1], "d") || len(size) > 3 {
		size = "<size>"
	}
	return strings.Join([]string{groups[1], groups[2], groups[3], size, groups[5]}, " ")
}

// Files whose size follows from what they hold; certificates vary by a few bytes, the rest is K3s' own.
var sized = regexp.MustCompile(`(\.key|/token|/passwd|/name|/password|\.kubeconfig|/encryption-\w+\.json|/crictl\.yaml)$`)

// Keys of RSA vary by a few bytes; the others have one size.
var varies = regexp.MustCompile(`/(?:service(?:\.current)?|apiserver-loopback-client__)\.key$`)

// found is a line of `find -printf '%M %u %s %p -> %l'`.
func found(_ *reader, _ *tokens, groups []string) string {
	size := groups[3]
	if strings.HasPrefix(groups[1], "d") || varies.MatchString(groups[4]) || !sized.MatchString(groups[4]) && !strings.HasPrefix(groups[1], "l") {
		size = "<size>"
	}
	return strings.Join([]string{groups[1], groups[2], size, groups[4]}, " ") + strings.TrimRight(groups[5], " ")
}
