package integration

import (
	"strings"
	"testing"
	"time"

	"hmco-boot/k3s-standin/internal/faults"
)

const chart = `
apiVersion: helm.cattle.io/v1
kind: HelmChart
metadata: {name: some, namespace: kube-system}
spec: {repo: "https://charts.invalid", chart: some}
`

// TestEveryStageIsPassed does what the stages are said to be part of, so that a fault at one of them does not wait for
// ever.
func TestEveryStageIsPassed(t *testing.T) {
	torture(t, "2 minutes")
	var lines strings.Builder
	for _, stage := range faults.Stages() {
		lines.WriteString("slow " + stage + " 1ms\n")
	}
	n := newNetwork(t)
	m, other, agent := n.machine("n1"), n.machine("n2"), n.machine("n3")
	for _, one := range n.machines {
		one.env = []string{"K3S_STANDIN_RELOAD_PERIOD=" + reloadPeriod.String()}
		one.write(faultsFile, lines.String())
	}
	m.config("cluster-init: true\ntoken: integration\nsecrets-encryption: true\n" + fewer)
	m.up()
	m.must("etcd-snapshot", "save", "--name", "stages")
	m.makeSecrets(60) // progress is told every 50
	m.status()
	m.awaitPhase()
	m.must("secrets-encrypt", "rotate-keys")
	m.apply(webhook)
	m.kubectl("create", "namespace", "hooked")
	m.kubectl("label", "namespace", "hooked", "hooked=yes")
	m.await("an answer of the webhook", time.Minute, func() bool {
		_, err := m.try("create", "configmap", "c", "-n", "hooked")
		return err == nil
	})
	m.apply(chart)
	m.await("a job of the chart", time.Minute, func() bool {
		_, err := m.try("get", "job", "-n", "kube-system", "helm-install-some")
		return err == nil
	})
	agent.write(configFile, "server: https://"+m.address+":6443\ntoken: integration\n")
	agent.launch("agent")
	m.awaitNode("n3")
	other.config("server: https://" + m.address + ":6443\ntoken: integration\nsecrets-encryption: true\n" + fewer)
	other.up()
	if code := other.stop(); code != 0 {
		t.Errorf("status %d", code)
	}
	m.kill() // a cluster of two has lost its quorum
	if out, code := m.run("server", "--cluster-reset", "--cluster-reset-restore-path="+m.shell("ls "+rancher+"/server/db/snapshots/stages-*")); code != 0 {
		t.Fatalf("restore: %d\n%s", code, tail(out, 1500))
	}
	m.up()
	m.status()
	m.must("token", "rotate", "--new-token", "another")

	passed := m.read(hitsFile) + other.read(hitsFile) + agent.read(hitsFile)
	for _, stage := range faults.Stages() {
		if !strings.Contains(passed, "slow "+stage+" 1ms") {
			t.Errorf("never passed: %s", stage)
		}
	}
}
