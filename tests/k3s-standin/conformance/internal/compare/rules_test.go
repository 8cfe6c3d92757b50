package compare

import (
	"strings"
	"testing"
)

func TestRawValuesAreComparedByTheirKeyOrAsAWhole(t *testing.T) {
	c := caseNamed(t, "02-secrets-encryption-off-single/13")
	if !strings.Contains(c.Stdout, "k   e   y   :") {
		t.Fatal("another case than meant")
	}
	got := asRecorded(c)
	got.Stdout = strings.Replace(got.Stdout, "020   %  \\v 240", "021   &  \\v 241", 1)
	if found := Case(c, got, Recorded, NewIdentities()); len(found) > 0 {
		t.Errorf("other encrypted bytes: %v", found)
	}
	got.Stdout = strings.Replace(c.Stdout, "k   e   y   :", "k   e   z   :", 1)
	expectDifference(t, c, got, NewIdentities(), "stdout")
	got.Stdout = strings.Replace(c.Stdout, "S   e   c   r", "S   e   c   q", 1)
	expectDifference(t, c, got, NewIdentities(), "stdout")
}

func TestAStatusJustAfterARestartMayBeEOF(t *testing.T) {
	c := caseNamed(t, "02-secrets-encryption-single/18")
	if !rulesFor(c).transient {
		t.Fatal("another case than meant")
	}
	got := asRecorded(c)
	answered := "Encryption Status: Enabled\n-- rc=0\n"
	got.Stdout = answered + strings.TrimPrefix(got.Stdout, "-- rc=1\n")
	got.Stderr = ""
	if found := Case(c, got, Recorded, NewIdentities()); len(found) > 0 {
		t.Errorf("answered at once: %v", found)
	}
	got.Stdout = strings.Replace(got.Stdout, `"stage": "reencrypt_finished"`, `"stage": "start"`, 1)
	expectDifference(t, c, got, NewIdentities(), "stdout")
	got = asRecorded(c)
	got.Stderr += "time=\"2026-11-21T09:12:08Z\" level=fatal msg=\"something else\"\n"
	expectDifference(t, c, got, NewIdentities(), "stderr")
}

const sightings = `22 ms  0 activating start | anon /readyz: http=000  | /ping:  http=000 | admin /readyz:  http=000 | node:  | token+kubeconfig files: 0
440 ms  0 activating start | anon /readyz: "message":"apiservernotready" http=503  | /ping: pong http=200 | admin /readyz: dy" http=503 | node:  | token+kubeconfig files: 2
9085 ms  0 active running | anon /readyz: "message":"Unauthorized" http=401  | /ping: pong http=200 | admin /readyz: ok http=200 | node: Node:True | token+kubeconfig files: 2
`

func TestAStartMaySkipStatesButNotEndOtherwise(t *testing.T) {
	c := caseNamed(t, "01-first-start/2")
	got := asRecorded(c)
	got.Stdout = sightings
	if found := Case(c, got, Recorded, NewIdentities()); len(found) > 0 {
		t.Errorf("fewer states: %v", found)
	}
	for what, change := range map[string][2]string{
		"start, unit at the end":          {"0 active running", "1 active running"},
		"start, admin /readyz at the end": {"ok http=200", "ok http=500"},
		"start, node at the end":          {"Node:True", "Node:False"},
		"start, anonymous /readyz":        {`"message":"apiservernotready" http=503`, `"message":"ok" http=200`},
		"start, files at the end":         {"Node:True | token+kubeconfig files: 2", "Node:True | token+kubeconfig files: 1"},
	} {
		got.Stdout = strings.Replace(sightings, change[0], change[1], 1)
		expectDifference(t, c, got, NewIdentities(), what)
	}
	got.Stdout = ""
	expectDifference(t, c, got, NewIdentities(), "start")
}

func TestOnlyTheLastSightingOfAPollCounts(t *testing.T) {
	c := caseNamed(t, "02-secrets-encryption-single/10")
	if !rulesFor(c).polled {
		t.Fatal("another case than meant")
	}
	got := asRecorded(c)
	got.Stdout = strings.Replace(got.Stdout, "reencrypt_finished", "reencrypt_active", -1) + got.Stdout
	if found := Case(c, got, Recorded, NewIdentities()); len(found) > 0 {
		t.Errorf("a state more on the way: %v", found)
	}
	got.Stdout = strings.Replace(c.Stdout, "reencrypt_finished", "reencrypt_active", -1)
	expectDifference(t, c, got, NewIdentities(), "stdout")
}

func TestModesOwnersAndLinksOfFilesCount(t *testing.T) {
	c := caseNamed(t, "01-first-start/3")
	for _, change := range [][2]string{
		{"-rw------- root 90 /var/lib/rancher/k3s/server/token", "-rw-r--r-- root 90 /var/lib/rancher/k3s/server/token"},
		{"-rw------- root 90 /var/lib/rancher/k3s/server/token", "-rw------- pi 90 /var/lib/rancher/k3s/server/token"},
		{"-rw------- root 90 /var/lib/rancher/k3s/server/token", "-rw------- root 91 /var/lib/rancher/k3s/server/token"},
		{"node-token -> /var/lib/rancher/k3s/server/token", "node-token -> /var/lib/rancher/k3s/server/other"},
	} {
		got := asRecorded(c)
		if !strings.Contains(got.Stdout, change[0]) {
			t.Fatalf("no %q", change[0])
		}
		got.Stdout = strings.Replace(got.Stdout, change[0], change[1], 1)
		expectDifference(t, c, got, NewIdentities(), "stdout")
	}
	got := asRecorded(c)
	got.Stdout = strings.Replace(got.Stdout, "root 1173 /var/lib/rancher/k3s/server/tls/client-admin.crt",
		"root 1177 /var/lib/rancher/k3s/server/tls/client-admin.crt", 1)
	if found := Case(c, got, Recorded, NewIdentities()); len(found) > 0 {
		t.Errorf("a certificate of another size: %v", found)
	}
}

func TestShapesOfJSONAreComparedByKeysTypesAndValues(t *testing.T) {
	recorded := `{"items":[{"metadata":{"name":"n1","uid":"a"},"addresses":[{"type":"InternalIP","address":"172.30.7.11"}],"ready":true}]}`
	for name, text := range map[string]string{
		"":              strings.NewReplacer("172.30.7.11", "172.30.101.11", `"a"`, `"b"`).Replace(recorded),
		"a value":       strings.Replace(recorded, `"n1"`, `"n2"`, 1),
		"a key less":    strings.Replace(recorded, `"uid":"a"`, `"other":"a"`, 1),
		"a type":        strings.Replace(recorded, "true", `"true"`, 1),
		"no items":      `{"items":[]}`,
		"an address":    strings.Replace(recorded, "172.30.7.11", "172.30.101.12", 1),
		"no JSON":       "error",
		"a list's size": strings.Replace(recorded, `"addresses":[`, `"addresses":[{"type":"Hostname","address":"n1"},`, 1),
	} {
		found := Shape([]byte(recorded), []byte(text), elsewhere)
		if (len(found) > 0) != (name != "") {
			t.Errorf("%q: %v", name, found)
		}
	}
}

func TestALuckyListMayComeFromTheCacheOrFailButShowsNothingElse(t *testing.T) {
	c := caseNamed(t, "03-ha-enable-on-existing/30")
	got := asRecorded(c)
	if found := Case(c, got, Recorded, NewIdentities()); len(found) > 0 {
		t.Errorf("as recorded: %v", found)
	}
	got.Stdout = strings.Replace(got.Stdout, "via3     Opaque", "via2     Opaque", 1)
	expectDifference(t, c, got, NewIdentities(), "stdout")
	listed := c.Stdout[strings.Index(c.Stdout, "NAME "):]
	got = asRecorded(c)
	got.Stdout = strings.Replace(c.Stdout, listed, "rc=1\n", 1)
	expectDifference(t, c, got, NewIdentities(), "stdout") // no list, and nothing said
	got.Stderr += `Error from server (InternalError): Internal error occurred: unable to transform key "/registry/secrets/default/via2": invalid padding on input` + "\n"
	if found := Case(c, got, Recorded, NewIdentities()); len(found) > 0 {
		t.Errorf("the list failed: %v", found)
	}
	got.Stdout += "via2   Opaque   1   9s\n"
	expectDifference(t, c, got, NewIdentities(), "stdout")

	c = caseNamed(t, "03-ha-enable-on-existing/7")
	got = asRecorded(c)
	got.Stdout = "rc=1\nNAMESPACE   NAME     TYPE     DATA   AGE\ndefault     canary   Opaque   1      59s\nrc=0\n"
	got.Stderr = c.Stderr[:strings.Index(c.Stderr, "\n")+1]
	if found := Case(c, got, Recorded, NewIdentities()); len(found) > 0 {
		t.Errorf("listed from the cache: %v", found)
	}
	got.Stdout = strings.Replace(got.Stdout, "canary ", "vian2 ", 1)
	expectDifference(t, c, got, NewIdentities(), "stdout")
}

func TestAnAnswerThatCameCountsWhereItMayBeMissing(t *testing.T) {
	c := caseNamed(t, "02-secrets-encryption-kill/11")
	got := asRecorded(c)
	got.Stdout = strings.Replace(got.Stdout, "Current Rotation Stage: reencrypt_finished", "Current Rotation Stage: start", 1)
	expectDifference(t, c, got, NewIdentities(), "stdout")
}
