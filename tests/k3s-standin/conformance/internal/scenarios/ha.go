package scenarios

import (
	"fmt"
	"time"

	"hmco-boot/k3s-standin/conformance/internal/suite"
)

func ha(s *suite.Session) {
	haConfig(s, four...)
	s.Through("the whole")
	s.Until("n1", `[ "$(kubectl get nodes -o json | grep -c EtcdIsVoter)" = 3 ]`, time.Minute)
	s.Shape("03-nodes.json", "n1", "kubectl get nodes -o json")
	s.Shape("03-db-info.json", "n1", "curl -sk https://127.0.0.1:6443/db/info")
	s.Shape("03-etcd-member-list.json", "n1", "eraw member list -w json")
	canaries(s, "n1")
	s.Through("status on n3")
	s.Run("rotate-keys on n1")
	s.Through("status on n3")
	s.Shape("03-status-after-rotate-keys-n1.json", "n1", statusJSON)
	s.Shape("03-status-after-rotate-keys-n2.json", "n2", statusJSON)
	s.Do("n1", secret("via1", "v"))
	s.Do("n2", secret("via2", "v"))
	s.Through("rotate-keys a second time before the others restarted")
	// n1 cannot read via2 and hangs until that is gone; see 03-ha-window.
	s.Later(50*time.Second, "n2", "kubectl delete secret via2")
	s.Rest()
	s.Shape("04-etcdsnapshotfiles-ha.json", "n1", "kubectl get etcdsnapshotfiles -o json")
	s.Shape("04-ls-ha.json", "n1", "k3s etcd-snapshot ls -o json 2>/dev/null")
}

func haWindow(s *suite.Session) {
	haUp(s, "n1", "n2")
	rotateKeys(s, "n1")
	s.Do("n2", secret("via2", "v"))
	s.Do("n1", "systemctl restart --no-block k3s")
	s.Sleep(50 * time.Second)
	if _, state := s.Try("n1", "systemctl is-active k3s"); state != "activating\n" {
		s.Fail("n1 is %q, though it cannot read a Secret", state)
	}
	s.Rest()
}

// probe writes a Secret through each server and reads all of them through each.
func probe(s *suite.Session, number int) {
	eachServer(s, func(node string) string { return secret(fmt.Sprintf("probe-%d-%s", number, node), "v") })
	eachServer(s, func(string) string { return "kubectl get secrets -A >/dev/null" })
}

func haClassic(s *suite.Session) {
	haRotated(s)
	// With the probes, 26 Secrets to reencrypt in the end.
	s.Do("n1", secret("via1", "v"))
	number := 0
	for _, step := range []string{"prepare on n1", "rotate on n1", "reencrypt on n1"} {
		s.Run(step)
		for _, node := range []string{"n1", "n2", "n3"} {
			s.Run("restart " + node)
			ready(s, node)
			s.Sleep(3 * time.Second)
			number++
			probe(s, number)
		}
		s.Run("status")
	}
}

func haClassicKill(s *suite.Session) {
	haRotated(s)
	// With n1 to n4's node passwords, the certificate and two canaries: 1,032 in the end.
	manySecrets(s, "n1", 1024)
	for _, step := range []string{"prepare", "rotate"} {
		s.Do("n1", "k3s secrets-encrypt "+step)
		restart(s, "n1", "n2", "n3")
	}
	s.Do("n1", secret("last", "v"))
	s.Through("reencrypt, kill -9 on n1 after 300 Secrets")
	s.Sleep(6 * time.Second)
	ready(s, "n1")
	s.Through("reencrypt again")
	s.Until("n1", "k3s secrets-encrypt status | grep -q reencrypt_finished", 2*time.Minute)
	s.Run("status after that")
	restart(s, "n1", "n2", "n3")
	s.Rest()
}

func haEnable(s *suite.Session) {
	nodes := []string{"n2", "n3", "n4"}
	config := func() {
		s.Config("n2", server("n2", "cluster-init: true", "token: labtoken-0002")...)
		for _, node := range nodes[1:] {
			s.Config(node, server(node, "server: https://172.30.7.12:6443", "token: labtoken-0002")...)
		}
	}
	flag := func() {
		for _, node := range nodes {
			s.Do(node, addEncryption)
		}
	}
	fresh := func() {
		s.Cast(nodes...)
		config()
		for _, node := range nodes {
			start(s, node)
			voters(s, node)
		}
		s.Do("n2", secret("canary", "v1"))
		flag()
	}

	// Variant 1: one after the other, the first server first.
	config()
	s.Run("first server")
	ready(s, "n2")
	s.Run("join 2nd")
	ready(s, "n3")
	voters(s, "n2")
	s.Run("join 3rd")
	ready(s, "n4")
	voters(s, "n2")
	canaries(s, "n2")
	flag()
	s.Run("flag added on all three, restart n2 (first)")
	ready(s, "n2")
	s.Run("status on n2", "status on n3")
	s.Do("n2", secret("vian2", "v1"))
	s.Run("a Secret written through n2, read through n3", "restart n3 with the flag")
	ready(s, "n3")
	s.Run("restart n4 with the flag")
	ready(s, "n4")
	s.Shape("03-status-flag-one-by-one.json", "n2", statusJSON)
	s.Through("reading Secrets through n4")
	phase(s, "n2", 45)
	s.Through("prepare right after it, n3 and n4 not yet restarted (now a real mismatch)")
	for _, node := range nodes[1:] {
		s.Do(node, "systemctl stop k3s")
		s.CopyFiles("n2", node, "/var/lib/rancher/k3s/server/cred/encryption-config.json",
			"/var/lib/rancher/k3s/server/cred/encryption-state.json")
	}
	s.Run("n3: stopped, n2's two cred files copied in, started")
	ready(s, "n3")
	s.Run("n4: stopped, n2's two cred files copied in, started")
	ready(s, "n4")
	s.Run("status on n2", "status on n3", "status on n4")

	// Variant 2: all at the same moment.
	fresh()
	for _, node := range nodes {
		s.Do(node, "systemctl restart --no-block k3s")
	}
	for _, node := range nodes {
		ready(s, node)
	}
	s.Shape("03-status-simultaneous-n2.json", "n2", statusJSON)
	s.Through("journal on n4")
	s.Do("n2", secret("via2", "v1"))
	s.Do("n3", secret("via3", "v1"))
	s.Do("n4", secret("via4", "v1"))
	s.Through("rotate-keys in this state")

	// Variant 3: a server that joined first.
	fresh()
	s.Run("restart n3")
	s.Do("n3", secret("via3", "v1"))
	s.Rest()
}

func tokenRotate(s *suite.Session) {
	haRotated(s)
	s.Through("old and new token against each server")
	// It had joined anew just before, and its folder was empty.
	s.Do("n2", "rm -f /var/lib/rancher/k3s/server/db/snapshots/*")
	s.Through("n3: new token in config.yaml first, then restart")
	s.Mark("09:40:56")
	s.Run("n1 (ran the command): new token in config.yaml, restart")
	s.Mark("09:41:10")
	s.Through("agent: new token")
	s.Until("n1", `[ "$(kubectl get nodes --no-headers | grep -c " Ready")" = 4 ]`, time.Minute)
	s.Through("why n3 restarted by itself once (NRestarts 1) while n1 was restarting")

	// The second rotation, later: keys had been rotated meanwhile.
	s.Forget()
	for _, node := range []string{"n1", "n2", "n3"} {
		s.Do(node, "systemctl reset-failed k3s || true")
	}
	s.Through("the same on n2")
	s.Do("n4", "systemctl stop k3s-agent; rm -rf /var/lib/rancher/k3s /etc/rancher/node /etc/rancher/k3s")
	s.Do("n1", "kubectl delete node n4; kubectl delete secret -n kube-system n4.node-password.k3s --ignore-not-found")
	s.Run("new agent (empty data dir) with the NEW token before any restart")
	for _, node := range []string{"n1", "n2", "n3"} {
		s.Do(node, "sed -i 's/^token:.*/token: labtoken-0001/' /etc/rancher/k3s/config.yaml")
	}
	for _, node := range []string{"n1", "n2", "n3"} {
		s.Run(node + ": new token in config.yaml, restart (order n1, n2, n3)")
		ready(s, node)
		s.Sleep(5 * time.Second)
	}
	s.Through("new agent with the NEW token after all restarts")
	s.Until("n1", `kubectl get node n4 --no-headers | grep -q " Ready"`, time.Minute)
	s.Rest()
}

func certificates(s *suite.Session) {
	haUp(s, four...)
	s.Rest()
}

func quorumLoss(s *suite.Session) {
	haRotated(s)
	s.Do("n1", save("--name hmco-ha"), save("--name hmco-p"), save("--name hmco-before-token"))
	s.Rest()
}
