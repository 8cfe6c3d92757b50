package scenarios

import (
	"strings"
	"time"

	"hmco-boot/k3s-standin/conformance/internal/suite"
)

func configN1() []string {
	return server("n1", "cluster-init: true", "token: labtoken-0001", encryption, mode0600)
}

func firstStart(s *suite.Session) {
	s.Config("n1", configN1()...)
	// No image could be pulled where it was recorded. A real K3s does not read this file: it has to be run without an uplink.
	s.WriteFile("n1", faultsFile, "image * creating\n")
	s.Through("Files left by the first start")
	// The bundled manifests are applied in the first half minute.
	_, _ = s.Try("n1", `for i in $(seq 1 60); do kubectl get cm -n kube-system coredns kube-root-ca.crt && break; sleep 0.5; done`)
	s.Rest()
	// Come some seconds after the start.
	for _, late := range []string{"EtcdIsVoter", "local-snapshots-timestamp"} {
		s.Until("n1", "kubectl get node n1 -o json | grep -q "+late, time.Minute)
	}
	s.Shape("01-nodes.json", "n1", "kubectl get nodes -o json")
	s.Shape("01-addons.json", "n1", "kubectl get addons -n kube-system -o json")
}

// faultsFile is where the stand-in reads what it has to simulate (its package faults).
const faultsFile = "/run/k3s-standin/faults"

func encryptionSingle(s *suite.Session) {
	s.Config("n1", configN1()...)
	start(s, "n1")
	canaries(s, "n1")
	s.Through("bad output format, unknown subcommand, unknown flag")
	s.Shape("02-status-start.json", "n1", statusJSON)
	phase(s, "n1", 45)
	s.Run("rotate-keys")
	s.Through("Events")
	s.Shape("02-status-after-rotate-keys.json", "n1", statusJSON)
	phase(s, "n1", 45)
	s.Run("rotate-keys again, no restart between")
	s.Through("Status, files, annotation: after prepare, before restart")
	s.Shape("02-status-prepare.json", "n1", statusJSON)
	s.Through("Status, files, annotation: after rotate, before restart")
	s.Shape("02-status-rotate.json", "n1", statusJSON)
	s.Through("Status, files, annotation: after disable, before restart")
	s.Shape("02-status-disabled.json", "n1", statusJSON)
	s.Rest()
}

const statusJSON = "k3s secrets-encrypt status -o json"

func encryptionOff(s *suite.Session) {
	s.Config("n2", server("n2", "cluster-init: true", "token: labtoken-0002")...)
	start(s, "n2")
	canaries(s, "n2")
	s.Through("Status, files, annotation: after enable without the flag in config")
	s.Shape("02-status-never-enabled.json", "n2", statusJSON)
	s.Do("n2", addEncryption)
	s.Run("systemctl restart k3s", "Status, files, annotation: flag added, restarted", "Raw canary")
	s.Until("n2", statusJSON, time.Minute)
	s.Shape("02-status-flag-added.json", "n2", statusJSON)
	s.Do("n2", secret("canary2", "v1")+" --dry-run=client -o yaml | kubectl replace -f -")
	s.Run("Raw canary")
	// Too late for this look, and the next one comes after the command has given up.
	phase(s, "n2", 2.5)
	s.Through("Status, files, annotation: after rotate-keys and restart")
	s.Do("n2", removeEncryption)
	s.Run("systemctl restart k3s with the flag taken out of config.yaml again", "state after that restart")
	s.Do("n2", addEncryption, "timeout 150 systemctl restart k3s")
	s.Through("rotate-keys issued 2 s after a tick")
	// One Secret more, as in the recording, where an agent had joined meanwhile.
	s.Do("n2", secret("more", "v1"))
	s.Rest()
}

const (
	addEncryption    = "echo 'secrets-encryption: true' >>/etc/rancher/k3s/config.yaml"
	removeEncryption = "sed -i /^secrets-encryption/d /etc/rancher/k3s/config.yaml"
)

func encryptionKill(s *suite.Session) {
	s.Config("n1", configN1()...)
	start(s, "n1")
	canaries(s, "n1")
	manySecrets(s, "n1", 2000)
	rotateKeys(s, "n1")
	s.Run("Status, files, annotation: before (about 2000 secrets)")
	// So that no look of the apiserver comes before the kill.
	phase(s, "n1", 15)
	s.Run("kill -9 while rotate-keys waits for the reload (10 s after the command)")
	s.Until("n1", `[ "$(journalctl -u k3s -o cat --no-pager | grep -c "level=fatal.*newer than datastore")" -ge 2 ]`, 2*time.Minute)
	s.Through("kill -9 in the middle of rewriting")
	s.Sleep(25 * time.Second)
	s.Rest()
}

func configErrors(s *suite.Session) {
	for !strings.HasPrefix(s.Next().Title, "bad cron expression: lines") {
		c := s.Next()
		if strings.HasSuffix(c.Title, "(cluster has true)") {
			s.Config("n1", configN1()...)
			start(s, "n1")
		}
		// Each case shows the configuration that it was run with.
		text, _, _ := strings.Cut(c.Stdout, "rc=")
		s.Do("n4", "rm -rf /srv/dd; mkdir -p /srv")
		s.WriteFile("n4", "/srv/x.yaml", text)
		s.Run(c.Title)
	}
	s.Do("n4", "rm -rf /srv/dd")
	s.Rest()
}

func tokensJoins(s *suite.Session) {
	agent := func(token string, more ...string) {
		s.Config("n4", append([]string{"server: https://172.30.7.12:6443", "token: " + token, kubelet("n4")}, more...)...)
		s.Do("n4", "rm -rf /var/lib/rancher/k3s")
	}
	s.Config("n4", "server: https://172.30.7.13:6443", "token: labtoken-0002", kubelet("n4"))
	s.Through("agent: no token")
	s.Config("n2", server("n2", "cluster-init: true", "token: labtoken-0002", encryption)...)
	start(s, "n2")
	hash := s.Do("n2", "sha256sum </var/lib/rancher/k3s/server/tls/server-ca.crt | cut -c1-64")
	agent("wrong")
	s.Run("agent: wrong short token")
	agent("K10" + strings.Repeat("0", 8) + hash[8:] + "::server:labtoken-0002")
	s.Run("agent: wrong CA hash in a K10 token")
	agent("K10" + hash + "::server:wrong")
	s.Run("agent: right CA hash, wrong password")
	agent("labtoken-0002", "node-name: n2")
	s.Run("agent: same node name as the server", "server side of the same")
	agent("labtoken-0002")
	s.Do("n4", "rm -rf /etc/rancher/node")
	s.Rest()
}
