// Package scenarios has one set-up by hand for each recordings file: what its prose says in words is code here.
package scenarios

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"hmco-boot/k3s-standin/conformance/internal/suite"
)

// All is every recordings file, in the order of the recordings.
var All = []suite.Scenario{
	{File: "01-first-start", Nodes: []string{"n1"}, Run: firstStart,
		Shapes: []string{"01-nodes.json", "01-addons.json"}},
	{File: "02-secrets-encryption-kill", Nodes: []string{"n1"}, Run: encryptionKill},
	{File: "02-secrets-encryption-off-single", Nodes: []string{"n2"}, Run: encryptionOff,
		Shapes: []string{"02-status-never-enabled.json", "02-status-flag-added.json"}},
	{File: "02-secrets-encryption-single", Nodes: []string{"n1"}, Run: encryptionSingle,
		Shapes: []string{"02-status-start.json", "02-status-after-rotate-keys.json", "02-status-prepare.json", "02-status-rotate.json", "02-status-disabled.json"}},
	{File: "03-ha-classic-kill", Nodes: four, Run: haClassicKill},
	{File: "03-ha-classic", Nodes: four, Run: haClassic},
	{File: "03-ha-enable-on-existing", Nodes: []string{"n2", "n3", "n4"}, Run: haEnable,
		Shapes: []string{"03-status-flag-one-by-one.json", "03-status-simultaneous-n2.json"}},
	{File: "03-ha-window", Nodes: []string{"n1", "n2"}, Run: haWindow},
	{File: "03-ha", Nodes: four, Run: ha,
		Shapes: []string{"03-nodes.json", "03-db-info.json", "03-etcd-member-list.json", "03-status-after-rotate-keys-n1.json", "03-status-after-rotate-keys-n2.json", "04-etcdsnapshotfiles-ha.json", "04-ls-ha.json"}},
	{File: "04-etcd-snapshot", Nodes: []string{"n3"}, Count: 2, Run: snapshots,
		Shapes: []string{"04-etcdsnapshotfiles.json", "04-ls.json"}},
	{File: "05-restore-bad-files", Nodes: []string{"n3"}, Run: restoreBadFiles},
	{File: "05-restore-ha", Nodes: four, Run: restoreHA},
	{File: "05-restore-older-key", Nodes: []string{"n4"}, Run: restoreOlderKey},
	{File: "05-restore-single", Nodes: []string{"n3"}, Run: restoreSingle},
	{File: "06-token-rotate", Nodes: four, Run: tokenRotate},
	{File: "06-tokens-joins", Nodes: []string{"n2", "n4"}, Run: tokensJoins},
	{File: "07-certificates", Nodes: four, Run: certificates},
	{File: "08-quorum-loss", Nodes: four, Run: quorumLoss},
	{File: "09-config-errors", Nodes: []string{"n1", "n4"}, Run: configErrors},
}

var four = []string{"n1", "n2", "n3", "n4"}

// server is a config.yaml of a server; first are its lines before those that all have.
func server(node string, first ...string) []string {
	return append(first, "flannel-backend: host-gw",
		"disable: [traefik, servicelb, metrics-server, local-storage]", kubelet(node))
}

func kubelet(node string) string {
	return fmt.Sprintf(`kubelet-arg: ["cgroup-root=/%s","cgroups-per-qos=true"]`, node)
}

// start starts K3s and waits until the node is Ready.
func start(s *suite.Session, node string) {
	s.Do(node, "timeout 120 systemctl start k3s")
	ready(s, node)
}

// ready waits until a server answers in every respect: its node Ready, the apiserver, the encryption's state.
func ready(s *suite.Session, node string) {
	s.Until(node, "systemctl is-active -q k3s", 3*time.Minute)
	s.Until(node, `kubectl get node $(hostname) --no-headers | grep -q " Ready"`, 2*time.Minute)
	s.Until(node, "kubectl get --raw /readyz >/dev/null", time.Minute)
	// It fails for some seconds after a start; whether it ever answers is for the cases to say.
	_, _ = s.Try(node, "for i in $(seq 1 60); do k3s secrets-encrypt status >/dev/null 2>&1 && break; sleep 0.5; done")
}

// restart restarts servers one after the other and waits for each: two in a row would disturb each other.
func restart(s *suite.Session, nodes ...string) {
	for _, node := range nodes {
		s.Do(node, "timeout 150 systemctl restart k3s")
		ready(s, node)
		s.Sleep(5 * time.Second)
	}
	// On a busy machine a server may have ended by itself meanwhile, as one did where it was recorded (06-token-rotate/26);
	// the cases count from here.
	for _, node := range nodes {
		ready(s, node)
		s.Do(node, "systemctl reset-failed k3s")
	}
}

// secret creates one, with one value named k.
func secret(name, value string) string {
	return fmt.Sprintf("kubectl create secret generic %s --from-literal=k=%s", name, value)
}

func canaries(s *suite.Session, node string) {
	s.Do(node, secret("canary", "v1"), secret("canary2", "v1"))
}

// manySecrets creates a number of Secrets at once. In the order of their names, that in which they are read and rewritten,
// they come after the canaries.
func manySecrets(s *suite.Session, node string, count int) {
	s.Do(node, fmt.Sprintf(`for i in $(seq 1 %d); do
printf -- '---\napiVersion: v1\nkind: Secret\nmetadata: {name: many-%%d, namespace: default}\nstringData: {k: v}\n' $i
done | kubectl create -f - >/dev/null`, count))
}

// phase waits until a number of seconds after one of the apiserver's looks at the encryption configuration, which come
// every 60 s after its start.
func phase(s *suite.Session, node string, seconds float64) {
	out := s.Do(node, `journalctl -u k3s -o short-unix --no-pager | grep encryption-provider-config-automatic-reload-controller | tail -1 | cut -d" " -f1`)
	tick, err := strconv.ParseFloat(out, 64)
	if err != nil {
		s.Fail("%s: the journal does not say when the apiserver first looked at the encryption configuration", node)
	}
	now := float64(time.Now().UnixMicro()) / 1e6
	wait := seconds - (now - tick)
	for wait < 0 {
		wait += 60
	}
	s.Sleep(time.Duration(wait * float64(time.Second)))
}

// rotateKeys rotates the key when the apiserver will look soon.
func rotateKeys(s *suite.Session, node string) {
	phase(s, node, 45)
	s.Do(node, "k3s secrets-encrypt rotate-keys")
	s.Until(node, "k3s secrets-encrypt status | grep -q reencrypt_finished", time.Minute)
}

const (
	everyMinute = `etcd-snapshot-schedule-cron: "* * * * *"`
	keepThree   = "etcd-snapshot-retention: 3"
	encryption  = "secrets-encryption: true"
	mode0600    = `write-kubeconfig-mode: "0600"`
)

// haConfig writes the configuration of servers n1 to n3 and agent n4, of which the scenario may have only some.
func haConfig(s *suite.Session, nodes ...string) {
	for _, node := range nodes {
		switch node {
		case "n1":
			s.Config(node, server(node, "cluster-init: true", "token: labtoken-0001", encryption, mode0600, everyMinute,
				keepThree)...)
		case "n4":
			s.Config(node, "server: https://172.30.7.11:6443", "token: labtoken-0001", kubelet(node))
		default:
			s.Config(node, server(node, "server: https://172.30.7.11:6443", "token: labtoken-0001", encryption, mode0600,
				everyMinute, keepThree)...)
		}
	}
}

// haUp brings up such a cluster.
func haUp(s *suite.Session, nodes ...string) {
	haConfig(s, nodes...)
	for _, node := range nodes {
		if node == "n4" {
			s.Do(node, "timeout 120 systemctl start k3s-agent")
			s.Until("n1", `kubectl get node n4 --no-headers | grep -q " Ready"`, time.Minute)
			continue
		}
		start(s, node)
		voters(s, node)
	}
}

// voters waits until no member of the etcd cluster is a learner: the next join would be refused.
func voters(s *suite.Session, node string) {
	s.Until(node, `[ "$(eraw member list | grep -c true)" = 0 ]`, time.Minute)
}

// haRotated is such a cluster after a rotation of keys on n1 and all restarts.
func haRotated(s *suite.Session) {
	haUp(s, four...)
	canaries(s, "n1")
	rotateKeys(s, "n1")
	restart(s, "n1", "n2", "n3")
}

// eachServer is a command for each of them.
func eachServer(s *suite.Session, command func(node string) string) {
	for _, node := range strings.Fields("n1 n2 n3") {
		s.Do(node, command(node))
	}
}
