package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	encryptionConfig = rancher + "/server/cred/encryption-config.json"
	encryptionState  = rancher + "/server/cred/encryption-state.json"
	// reloadPeriod is how often the apiserver looks at its configuration here; a minute otherwise.
	reloadPeriod = 10 * time.Second
)

// outcome is what a server is found in when it is started after a kill.
type outcome string

// The states that are recorded after a kill (02-secrets-encryption-kill, 03-ha-classic-kill), and those between which a
// rotation goes (02-secrets-encryption-single): there is no other.
const (
	before   outcome = "start, one key: as if nothing had been asked"
	newer    outcome = "ends with `newer than datastore`"
	prepared outcome = "prepare, two keys, the old one writes"
	rotated  outcome = "rotate, two keys, the new one writes"
	finished outcome = "reencrypt_finished, one key, the new one"
)

// kill is one moment at which a server is killed, and what is found then.
type kill struct {
	command string // of `k3s secrets-encrypt`
	from    outcome
	stage   string // as in the faults file
	found   outcome
	// only says that the file on disk is all there is of the new key: some Secrets are sealed with it already.
	only bool
}

var kills = []kill{
	{"rotate-keys", before, "rotate-keys.active", before, false},
	{"rotate-keys", before, "rotate-keys.written", newer, false},
	{"rotate-keys", before, "reencrypt.progress after=2", newer, true},
	// The ones above are tried in each run of the tests, the others with HMCO_TORTURE.
	{"rotate-keys", before, "rotate-keys.reload", newer, false},
	{"rotate-keys", before, "rotate-keys.reloaded", newer, false},
	{"rotate-keys", before, "reencrypt.rewritten", newer, true},
	{"rotate-keys", before, "encryption.written", newer, true},
	{"rotate-keys", before, "encryption.entered", newer, true},
	{"rotate-keys", before, "encryption.saved", finished, false},
	{"prepare", before, "encryption.written", newer, false},
	{"prepare", before, "encryption.entered", newer, false},
	{"prepare", before, "encryption.saved", prepared, false},
	{"rotate", prepared, "encryption.written", newer, false},
	{"rotate", prepared, "encryption.entered", newer, false},
	{"rotate", prepared, "encryption.saved", rotated, false},
	{"reencrypt", rotated, "reencrypt.progress after=2", rotated, false},
	{"reencrypt", rotated, "reencrypt.rewritten", rotated, false},
	{"reencrypt", rotated, "encryption.written", newer, false},
	{"reencrypt", rotated, "encryption.entered", newer, false},
	{"reencrypt", rotated, "encryption.saved", finished, false},
}

func TestAKillAtEachStageOfARotationLeavesARecordedStateAndItsCureLosesNothing(t *testing.T) {
	secrets, tried := 2000, kills
	if os.Getenv("HMCO_TORTURE") == "" {
		secrets, tried = 150, kills[:3]
		t.Logf("SKIPPED: %d of %d stages, and 2,000 Secrets instead of %d: HMCO_TORTURE is not set", len(kills)-len(tried), len(kills), secrets)
	}
	m := newNetwork(t).machine("n1")
	m.env = []string{"K3S_STANDIN_RELOAD_PERIOD=" + reloadPeriod.String()}
	m.config("cluster-init: true\ntoken: integration\nsecrets-encryption: true\netcd-disable-snapshots: true\n" + fewer)
	m.up()
	m.makeSecrets(secrets)
	m.keep(before)

	seen := map[outcome]bool{}
	for _, k := range tried {
		t.Run(k.command+" "+k.stage, func(t *testing.T) {
			m.in(t)
			found := m.tryKill(k, secrets)
			seen[found] = true
			if found != k.found {
				t.Errorf("found: %s; wanted: %s", found, k.found)
			}
		})
	}
	for _, one := range []outcome{before, newer, prepared, rotated, finished} {
		if len(tried) == len(kills) && !seen[one] {
			t.Errorf("never reached, though recorded: %s", one)
		}
	}
}

// tryKill goes to the state from which the command is possible, kills the server at the stage, and repairs what is left.
func (m *machine) tryKill(k kill, secrets int) outcome {
	m.t.Helper()
	line := "crash " + k.stage
	for try := 1; !m.crash(k, line); try++ {
		if try == 3 {
			m.t.Fatalf("not killed:\n%s", tail(m.log(), 1500))
		}
	}
	if signal := m.current().cmd.ProcessState.Sys().(syscall.WaitStatus).Signal(); signal != syscall.SIGKILL || !strings.Contains(m.read(hitsFile), line) {
		m.t.Fatalf("ended by %v, not by the fault: %q", signal, m.read(hitsFile))
	}
	m.write(faultsFile, "")
	saved := m.read(encryptionConfig)

	found := m.look()
	if found == newer {
		m.cure(k, saved)
	}
	m.readable(secrets)
	m.onlyKeysAtHand()
	if found == rotated {
		m.must("secrets-encrypt", "reencrypt")
		m.awaitStage("reencrypt_finished")
		m.readable(secrets)
		m.onlyKeysAtHand()
	}
	if m.alive() && m.stop() != 0 {
		m.t.Error("a bad end")
	}
	return found
}

// crash goes to the state from which the command is possible and lets it run into the fault. Where the machine is busy, the
// apiserver may not have loaded the new configuration within the time that rotate-keys waits, and no fault was met.
func (m *machine) crash(k kill, line string) bool {
	m.t.Helper()
	m.goTo(k.from)
	m.write(hitsFile, "")
	if k.command == "rotate-keys" {
		m.awaitPhase()
	}
	m.write(faultsFile, line+"\n")
	out, _ := m.run("secrets-encrypt", k.command)
	limit := time.Minute
	if strings.Contains(out, "secret-encrypt error ID") {
		limit = time.Second
	}
	m.ended(limit)
	if !m.alive() {
		return true
	}
	m.t.Logf("no fault was met: %s", out)
	m.write(faultsFile, "")
	m.kill()
	return false
}

// look starts the server and says in which state it is.
func (m *machine) look() outcome {
	m.t.Helper()
	m.launch()
	for end := time.Now().Add(startLimit); !strings.Contains(m.log(), readyLine); time.Sleep(100 * time.Millisecond) {
		if !m.alive() {
			if code := m.ended(0); code != 1 || !strings.Contains(m.log(), "encryption-config.json newer than datastore") &&
				!strings.Contains(m.log(), "encryption-state.json newer than datastore") {
				m.t.Fatalf("ended with status %d:\n%s", code, tail(m.log(), 1500))
			}
			return newer
		}
		if time.Now().After(end) {
			m.t.Fatalf("neither up nor ended:\n%s", tail(m.log(), 1500))
		}
	}
	s := m.status()
	state := s.Stage
	if !s.HashMatch {
		m.t.Errorf("the hashes do not match: %+v", s)
	}
	switch {
	case state == "start" && s.Active == "aescbckey" && len(s.Inactive) == 0:
		return before
	case state == "prepare" && s.Active == "aescbckey" && len(s.Inactive) == 1:
		return prepared
	case state == "rotate" && s.Active != "aescbckey" && slices.Equal(s.Inactive, []string{"aescbckey"}):
		return rotated
	case state == "reencrypt_finished" && s.Active != "aescbckey" && len(s.Inactive) == 0:
		return finished
	}
	return outcome(fmt.Sprintf("unknown: %+v", s))
}

// cure does what is recorded as a cure: the file is removed and comes back from the datastore; where it is all there is
// of a key, it is put back while K3s still waits to be able to read, and all is written once more.
func (m *machine) cure(k kill, saved string) {
	m.t.Helper()
	m.shell("rm -f " + encryptionConfig + " " + encryptionState)
	m.launch()
	if !k.only {
		m.awaitLog(readyLine, startLimit)
		return
	}
	m.await("the configuration is back", time.Minute, func() bool { return m.read(encryptionConfig) != "" })
	// Put into place only where K3s is not up: with what is in the datastore it cannot read.
	m.awaitLog("no matching key was found", time.Minute)
	m.shell("cat >" + encryptionConfig + " <<'END'\n" + saved + "\nEND\ntruncate -s -1 " + encryptionConfig)
	m.awaitLog(readyLine, startLimit)
	m.status()
	m.must("secrets-encrypt", "reencrypt", "--force")
	m.awaitStage("reencrypt_finished")
}

// goTo brings the server up in a state, from a copy of its files.
func (m *machine) goTo(state outcome) {
	m.t.Helper()
	if _, err := os.Stat(m.path(copyOf(state))); err != nil {
		command := map[outcome]string{prepared: "prepare", rotated: "rotate"}[state]
		m.goTo(map[outcome]outcome{prepared: before, rotated: prepared}[state])
		m.must("secrets-encrypt", command)
		m.keep(state)
	}
	m.shell("rm -rf /var/lib/rancher; cp -a " + copyOf(state) + " /var/lib/rancher")
	m.up()
	m.status()
}

func copyOf(state outcome) string { return "/var/lib/kept/" + strings.Fields(string(state))[0] }

// keep stops the server and keeps a copy of its files.
func (m *machine) keep(state outcome) {
	m.t.Helper()
	if code := m.stop(); code != 0 {
		m.t.Errorf("ended with status %d", code)
	}
	m.shell("mkdir -p /var/lib/kept; cp -a /var/lib/rancher " + copyOf(state))
}

// status is what `k3s secrets-encrypt status -o json` says, once it answers.
type status struct {
	Stage     string   `json:"stage"`
	Active    string   `json:"activekey"`
	Inactive  []string `json:"inactivekeys"`
	HashMatch bool     `json:"hashmatch"`
}

func (m *machine) status() (s status) {
	m.t.Helper()
	m.await("secrets-encrypt status answers", time.Minute, func() bool {
		out, code := m.run("secrets-encrypt", "status", "-o", "json")
		return code == 0 && json.Unmarshal([]byte(out), &s) == nil
	})
	return s
}

func (m *machine) awaitStage(stage string) {
	m.t.Helper()
	m.await("stage "+stage, 2*time.Minute, func() bool { return m.status().Stage == stage })
}

var tickLine = regexp.MustCompile(`(?m)^I\d{4} (\d\d:\d\d:\d\d\.\d+) .*"Starting controller" name="encryption-provider-config-automatic-reload-controller"`)

// awaitPhase waits until the apiserver's next look at its configuration is near, but not too near: rotate-keys fails by
// chance else, as it does in K3s.
func (m *machine) awaitPhase() {
	m.t.Helper()
	found := tickLine.FindStringSubmatch(m.log())
	if found == nil {
		m.t.Fatal("the log does not say when the apiserver looks at its configuration")
	}
	clock, err := time.ParseInLocation("15:04:05.999999", found[1], time.Local)
	if err != nil {
		m.t.Fatal(err)
	}
	m.await("the apiserver's next look is near", 2*reloadPeriod, func() bool {
		now := time.Now()
		tick := time.Date(now.Year(), now.Month(), now.Day(), clock.Hour(), clock.Minute(), clock.Second(), clock.Nanosecond(), time.Local)
		phase := (now.Sub(tick)%reloadPeriod + reloadPeriod) % reloadPeriod
		return phase > reloadPeriod/2 && phase < reloadPeriod*3/4
	})
}

// makeSecrets makes a number of Secrets, each with a value that follows from its name.
func (m *machine) makeSecrets(count int) {
	m.t.Helper()
	secrets := m.client().CoreV1().Secrets("default")
	numbers, failed := make(chan int), make(chan error, count)
	var workers sync.WaitGroup
	for range 8 {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for i := range numbers {
				name := fmt.Sprintf("many-%04d", i)
				_, err := secrets.Create(context.Background(), &v1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name},
					StringData: map[string]string{"k": "value of " + name}}, metav1.CreateOptions{})
				failed <- err
			}
		}()
	}
	for i := range count {
		numbers <- i
	}
	close(numbers)
	workers.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			m.t.Fatal(err)
		}
	}
}

// readable checks that all Secrets are there with their values.
func (m *machine) readable(count int) {
	m.t.Helper()
	list, err := m.client().CoreV1().Secrets("default").List(context.Background(), metav1.ListOptions{})
	if err != nil {
		m.t.Fatalf("the Secrets cannot be read: %v", err)
	}
	good := 0
	for i := range list.Items {
		if s := &list.Items[i]; strings.HasPrefix(s.Name, "many-") && string(s.Data["k"]) == "value of "+s.Name {
			good++
		}
	}
	if good != count {
		m.t.Errorf("%d of %d Secrets are there with their values", good, count)
	}
}

var keyName = regexp.MustCompile(`"name":"(aescbckey[^"]*)"`)

// onlyKeysAtHand checks that what is in the database is sealed, and with keys that are in the configuration only.
func (m *machine) onlyKeysAtHand() {
	m.t.Helper()
	var have []string
	for _, group := range keyName.FindAllStringSubmatch(m.read(encryptionConfig), -1) {
		have = append(have, group[1])
	}
	for key, count := range m.sealedWith() {
		if !slices.Contains(have, key) {
			m.t.Errorf("%d Secrets are sealed with %q; the configuration has %q", count, key, have)
		}
	}
}
