package suite

import (
	"regexp"
	"strings"

	"hmco-boot/k3s-standin/conformance/internal/record"
)

// completed has the commands of which the recordings only kept the beginning. The ends follow from what they printed.
var completed = map[string]string{}

func complete(id, end string) { completed[id] = end }

const countKeys = `eraw get --prefix /registry/secrets/ --print-value-only | tr "\0" " " | grep -aoE "k8s:enc:aescbc:v1:aescbckey(-2026-11-21T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]Z)?:" | sort | uniq -c | sort -rn | head -5`

func init() {
	complete("02-secrets-encryption-kill/1", `eraw get --prefix /registry/secrets/ --print-value-only | tr "\0" " " | grep -aoE "k8s:enc:aescbc:v1:aescbckey(-2026-11-21T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]Z)?:" | sort | uniq -c | sort -rn | head -5; kubectl get secrets -A --no-headers | tail -1`)
	complete("02-secrets-encryption-kill/5", `(a few are missed because of newlines in the binary):"; `+countKeys+`; kubectl get secrets -A --no-headers | wc -l`)
	complete("02-secrets-encryption-kill/11", countKeys)
	complete("02-secrets-encryption-kill/13", `done; awk "BEGIN{print $EPOCHREALTIME-$s \" s: active\"}"; systemctl show -p ActiveState,NRestarts k3s; kubectl get secrets -A --no-headers | wc -l`)
	complete("03-ha-classic-kill/3", countKeys+`; timeout 30 kubectl get secrets -A --no-headers 2>&1 | wc -l`)
	complete("08-quorum-loss/4", `http://127.0.0.1:2381/health); g=$(curl -sk -m 4 -w " http=%{http_code}" https://127.0.0.1:6443/ping | tail -c 60); b=$(curl -sk -m 4 -w " http=%{http_code}" https://127.0.0.1:6443/db/info | tr "\n" " " | tail -c 60); n="$a | readyz $r | livez $l | etcd health $h | ping $g | db/info $b"; [ "$n" != "$p" ] && echo "$d ms $n"; p="$n"; sleep 0.3; done`)
}

var (
	recordedAddress = regexp.MustCompile(`172\.30\.7\.1(\d)\b`)
	recordedPrefix  = regexp.MustCompile(`172\.30\.7\.1\$(\w)`)
	recordedKeyTime = regexp.MustCompile(`2026-11-21T`)
	recordedWindow  = regexp.MustCompile(`'2026-11-21 (\d\d:\d\d:\d\d)'`)
	variableUse     = regexp.MustCompile(`@\{(\w+)\}`)
)

// whole gives a case's command with its end, where the recording has cut it off.
func whole(id, command string) string {
	cut, ok := strings.CutSuffix(command, " [...]")
	if !ok {
		return command
	}
	end := completed[id]
	// The end begins with the word in whose middle the command was cut.
	for i := min(len(end), len(cut)); i > 0; i-- {
		if strings.HasSuffix(cut, end[:i]) {
			return cut + end[i:]
		}
	}
	return cut + end
}

// Command is what is run for a case.
func (s *Session) Command(c *record.Case) string { return s.adapt(whole(c.ID(), c.Command)) }

// address is a node's address, or one at which nothing listens.
func (s *Session) address(name string) string {
	if node := s.nodes[name]; node != nil {
		return node.Address()
	}
	return s.lab.Nobody
}

// adapt makes a command fit this run: addresses, dates in the names of keys, times of earlier commands, variables.
func (s *Session) adapt(command string) string {
	command = recordedAddress.ReplaceAllStringFunc(command, func(address string) string {
		return s.address("n" + address[len(address)-1:])
	})
	if recordedPrefix.MatchString(command) {
		list := "NODES=(-"
		for _, name := range []string{"n1", "n2", "n3", "n4"} {
			list += " " + s.address(name)
		}
		command = list + "); " + recordedPrefix.ReplaceAllString(command, "$${NODES[$$$1]}")
	}
	command = recordedKeyTime.ReplaceAllString(command, "[0-9-]{10}T")
	command = recordedWindow.ReplaceAllStringFunc(command, func(quoted string) string {
		if value, ok := s.Vars[quoted[len(quoted)-9:len(quoted)-1]]; ok {
			return "'" + value + "'"
		}
		return quoted
	})
	return variableUse.ReplaceAllStringFunc(command, func(use string) string { return s.Vars[use[2:len(use)-1]] })
}
