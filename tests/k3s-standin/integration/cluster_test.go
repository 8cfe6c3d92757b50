package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// cluster is a network with servers in the order in which they came.
type cluster struct {
	*network
	t        *testing.T
	promised []string
}

// in lets a part of a test fail instead of the whole.
func (c *cluster) in(t *testing.T) {
	whole := c.t
	c.t = t
	t.Cleanup(func() { c.t = whole })
	for _, m := range c.machines {
		m.in(t)
	}
}

// add makes the next server and starts it.
func (c *cluster) add() *machine {
	c.t.Helper()
	m := c.machine(fmt.Sprintf("n%d", len(c.machines)+1))
	m.again = true
	m.in(c.t)
	if m.name == "n1" {
		m.config("cluster-init: true\ntoken: integration\n" + fewer)
	} else {
		m.config("server: https://" + c.machines[0].address + ":6443\ntoken: integration\n" + fewer)
	}
	m.up()
	return m
}

// voters waits until as many members vote as there are servers, as one of them sees it.
func (c *cluster) voters(seenBy *machine) {
	c.t.Helper()
	nodes := seenBy.client().CoreV1().Nodes()
	seenBy.await(fmt.Sprintf("%d voting members", len(c.machines)), 90*time.Second, func() bool {
		list, err := nodes.List(context.Background(), metav1.ListOptions{})
		if err != nil {
			return false
		}
		votes := 0
		for i := range list.Items {
			for _, condition := range list.Items[i].Status.Conditions {
				if condition.Type == "EtcdIsVoter" && condition.Status == v1.ConditionTrue {
					votes++
				}
			}
		}
		return votes == len(c.machines)
	})
}

// ready waits until a server that was started again answers.
func (c *cluster) ready(m *machine) {
	c.t.Helper()
	m.awaitLog(readyLine, startLimit)
	client := m.client().Discovery().RESTClient()
	m.await("/readyz", time.Minute, func() bool {
		body, err := client.Get().AbsPath("/readyz").DoRaw(context.Background())
		return err == nil && string(body) == "ok"
	})
}

func (c *cluster) everybodyKnows() {
	c.t.Helper()
	for _, m := range c.machines {
		m.holds(c.t, c.promised)
	}
}

// others are all but one.
func (c *cluster) others(one *machine) []*machine {
	var list []*machine
	for _, m := range c.machines {
		if m != one {
			list = append(list, m)
		}
	}
	return list
}

// TestACluster is one story in parts: what a part leaves behind, the next one needs. All but the first part want
// HMCO_TORTURE.
func TestACluster(t *testing.T) {
	c := &cluster{network: newNetwork(t), t: t}
	parts := []struct {
		name string
		run  func(*cluster)
	}{
		{"servers join one by one while others are written to", joinUnderWrites},
		{"each server is killed while others are written to", killEach},
		{"two servers are lost and come back", loseQuorum},
		{"one server is restored and two rejoin", restoreAndRejoin},
		{"servers that are stopped back to back end well", stopBackToBack},
	}
	if os.Getenv("HMCO_TORTURE") == "" {
		t.Log("SKIPPED: all but the first part: HMCO_TORTURE is not set; they take some minutes")
		parts = parts[:1]
	}
	for _, part := range parts {
		if !t.Run(part.name, func(t *testing.T) {
			c.in(t)
			part.run(c)
		}) {
			return
		}
	}
}

func joinUnderWrites(c *cluster) {
	first := c.add()
	writers := []*writer{first.writer("join-1")}
	second := c.add()
	c.voters(first) // a join while there is a learner is refused, and tried again
	writers = append(writers, second.writer("join-2"))
	c.add()
	c.voters(first)
	for _, w := range writers {
		w.goesOn(5, time.Minute)
		c.promised = append(c.promised, w.judge(c.t, leaderChanged)...)
	}
	c.everybodyKnows()
}

func killEach(c *cluster) {
	for _, victim := range c.machines {
		var writers []*writer
		for _, m := range c.others(victim) {
			w := m.writer("kill-" + victim.name + "-" + m.name)
			w.goesOn(5, time.Minute)
			writers = append(writers, w)
		}
		begun := time.Now()
		victim.kill()
		for _, w := range writers {
			w.goesOn(5, time.Minute)
		}
		c.t.Logf("%s killed: others were written to %.1f s later", victim.name, time.Since(begun).Seconds())
		victim.launch()
		c.ready(victim)
		for _, w := range writers {
			w.goesOn(5, time.Minute)
			c.promised = append(c.promised, w.judge(c.t, leaderMissing)...)
		}
		c.voters(victim)
		c.everybodyKnows()
	}
	c.onlyRecordedEnds()
}

// recordedEnd is what a server may end with by itself while others come and go: etcd has changed its leader in the
// moment in which controllers start (06-token-rotate/26), or its lease could not be renewed (08-quorum-loss).
var recordedEnd = regexp.MustCompile(`leader changed|leaderelection lost`)

// onlyRecordedEnds complains about servers that have ended by themselves for another reason.
func (c *cluster) onlyRecordedEnds() {
	c.t.Helper()
	for _, m := range c.machines {
		m.mu.Lock()
		ends := m.ends
		m.mu.Unlock()
		for _, p := range ends {
			last := tail(p.text(), 3000)
			c.t.Logf("%s ended by itself (%v): %s", m.name, p.err, recordedEnd.FindString(last))
			if !recordedEnd.MatchString(last) {
				c.t.Errorf("%s ended by itself:\n%s", m.name, last)
			}
		}
	}
}

// lost is what is recorded of a server without a quorum (08-quorum-loss).
func (c *cluster) lost(m *machine) {
	c.t.Helper()
	m.await("etcd says that there is no leader", time.Minute, func() bool {
		return strings.Contains(m.etcdHealth(), "RAFT NO LEADER")
	})
	m.await("503 by /readyz and pong by /ping", time.Minute, func() bool {
		code, body := m.get("https://127.0.0.1:6443/readyz")
		ping, pong := m.get("https://127.0.0.1:6443/ping")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "apiserver not ready") && ping == http.StatusOK && pong == "pong"
	})
	if out, err := m.try("get", "nodes"); err == nil || !strings.Contains(out, "the server is currently unable to handle the request") {
		c.t.Errorf("kubectl without a quorum: %v, %s", err, out)
	}
	if out, code := m.run("etcd-snapshot", "save"); code != 1 {
		c.t.Errorf("a snapshot without a quorum: exit %d, %s", code, out)
	}
}

// leader is the server whose controllers run: it is the one that ends when it cannot renew its lease. One that was killed
// holds it for a while yet.
func (c *cluster) leader() (holder *machine) {
	c.t.Helper()
	leases := c.machines[0].client().CoordinationV1().Leases("kube-system")
	c.machines[0].await("a server that renews the lease", time.Minute, func() bool {
		lease, err := leases.Get(context.Background(), "kube-controller-manager", metav1.GetOptions{})
		if err != nil || lease.Spec.HolderIdentity == nil || lease.Spec.RenewTime == nil || time.Since(lease.Spec.RenewTime.Time) > 3*time.Second {
			return false
		}
		for _, m := range c.machines {
			if strings.HasPrefix(*lease.Spec.HolderIdentity, m.name+"_") {
				holder = m
			}
		}
		return holder != nil
	})
	return holder
}

func loseQuorum(c *cluster) {
	last := c.leader()
	second, third := c.others(last)[0], c.others(last)[1]
	w := last.writer("quorum")
	w.goesOn(5, time.Minute)
	third.kill()
	w.goesOn(5, time.Minute)
	run := last.current()
	second.kill()
	code, said := run.ended(time.Minute), tail(run.text(), 3000)
	if code == 0 || !recordedEnd.MatchString(said) {
		c.t.Fatalf("the last server did not end because of its lost lease, but with %d:\n%s", code, said)
	}
	c.t.Logf("the last server ended with %d: %s", code, recordedEnd.FindString(said))
	if _, said := last.get("https://127.0.0.1:6443/ping"); !strings.Contains(said, "refused") {
		c.t.Errorf("after its end: %s", said)
	}
	promised, _ := w.end()
	c.promised = append(c.promised, promised...)
	c.lost(last) // started again, as systemd does
	if strings.Contains(last.log(), readyLine) {
		c.t.Error("it says that it is up without a quorum")
	}
	second.launch()
	c.ready(last)
	c.ready(second)
	third.launch()
	c.ready(third)
	c.voters(last)
	c.everybodyKnows()
	c.onlyRecordedEnds()
}

func restoreAndRejoin(c *cluster) {
	first := c.machines[0]
	out := first.must("etcd-snapshot", "save", "--name", "proof")
	if !strings.Contains(out, "saved.") {
		c.t.Fatalf("no snapshot: %s", out)
	}
	snapshot := first.shell("ls " + rancher + "/server/db/snapshots/proof-*")
	w := first.writer("later")
	w.goesOn(5, time.Minute)
	later, _ := w.end()
	for i := len(c.machines) - 1; i >= 0; i-- {
		if code := c.machines[i].stop(); code != 0 {
			c.t.Errorf("%s ended with status %d", c.machines[i].name, code)
		}
	}
	if out, code := first.run("server", "--cluster-reset", "--cluster-reset-restore-path="+snapshot); code != 0 {
		c.t.Fatalf("restore: exit %d\n%s", code, tail(out, 2000))
	}
	first.launch()
	c.ready(first)
	first.holds(c.t, c.promised)
	for _, name := range later {
		if _, err := first.client().CoreV1().ConfigMaps("default").Get(context.Background(), name, metav1.GetOptions{}); err == nil {
			c.t.Errorf("%s was written after the snapshot, and is there", name)
		}
	}
	for _, m := range c.machines[1:] {
		m.shell("mv " + rancher + "/server/db " + rancher + "/db.old")
		m.launch()
		c.ready(m)
		m.await(m.name+" votes", 90*time.Second, func() bool {
			out, err := first.try("get", "node", m.name, "-o", `jsonpath={.status.conditions[?(@.type=="EtcdIsVoter")].status}`)
			return err == nil && out == "True"
		})
	}
	w = c.machines[2].writer("rejoined")
	w.goesOn(5, time.Minute)
	c.promised = append(c.promised, w.judge(c.t, leaderChanged)...)
	c.everybodyKnows()
}

// stopBackToBack: whoever takes over the controllers of a server that was stopped, and is stopped in that moment, is as
// well in order as one that does nothing; or it has met its recorded end just before.
func stopBackToBack(c *cluster) {
	for round := range 3 {
		for _, m := range c.machines {
			code := m.stop()
			switch last := tail(m.log(), 3000); {
			case code == 0:
			case recordedEnd.MatchString(last):
				c.t.Logf("round %d: %s ended by itself: %s", round, m.name, recordedEnd.FindString(last))
			default:
				c.t.Errorf("round %d: %s ended with status %d\n%s", round, m.name, code, tail(last, 1500))
			}
		}
		for _, m := range c.machines {
			m.launch()
		}
		for _, m := range c.machines {
			c.ready(m)
		}
	}
	c.everybodyKnows()
}
