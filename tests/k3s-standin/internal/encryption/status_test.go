package encryption

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hmco-boot/k3s-standin/internal/logx"
)

func recorded(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func keys(names ...string) []Key {
	var out []Key
	for _, name := range names {
		out = append(out, Key{Name: name, Secret: "c2VjcmV0"})
	}
	return out
}

func TestStatusIsPrintedAsRecorded(t *testing.T) {
	mismatch := errors.New("hash does not match between n1 and n2")
	cases := map[string]Status{
		"status-never-enabled":     {},
		"status-start":             StatusOf(Providers{Keys: keys("aescbckey"), Enabled: true}, "start", nil),
		"status-after-rotate-keys": StatusOf(Providers{Keys: keys("aescbckey-2026-11-21T09:09:52Z"), Enabled: true}, "reencrypt_finished", nil),
		"status-prepare": StatusOf(Providers{
			Keys: keys("aescbckey-2026-11-21T09:10:52Z", "aescbckey-2026-11-21T09:12:10Z"), Enabled: true,
		}, "prepare", nil),
		"status-rotate": StatusOf(Providers{
			Keys: keys("aescbckey-2026-11-21T09:12:10Z", "aescbckey-2026-11-21T09:10:52Z"), Enabled: true,
		}, "rotate", nil),
		"status-disabled": StatusOf(Providers{Keys: keys("aescbckey-2026-11-21T09:12:10Z")}, "reencrypt_finished", nil),
		"status-mismatch": StatusOf(Providers{Keys: keys("aescbckey-2026-11-21T09:35:31Z"), Enabled: true}, "reencrypt_finished", mismatch),
	}
	for name, status := range cases {
		var out bytes.Buffer
		if err := status.PrintJSON(&out); err != nil {
			t.Fatal(err)
		}
		if want := recorded(t, name+".json"); out.String() != want {
			t.Errorf("%s:\n%s\nrecorded:\n%s", name, out.String(), want)
		}
	}
	for _, name := range []string{"status-prepare", "status-disabled"} {
		var out bytes.Buffer
		if err := cases[name].PrintText(&out); err != nil {
			t.Fatal(err)
		}
		if want := recorded(t, name+".txt"); out.String() != want {
			t.Errorf("%s:\n%q\nrecorded:\n%q", name, out.String(), want)
		}
	}
	var out bytes.Buffer
	if err := cases["status-never-enabled"].PrintText(&out); err != nil {
		t.Fatal(err)
	}
	if out.String() != "Encryption Status: Disabled, no configuration file found\n" {
		t.Errorf("never enabled: %q", out.String())
	}
}

func TestWrongUsagesEndAsRecorded(t *testing.T) {
	var out, errs, logs bytes.Buffer
	defer logx.SetOutput(logx.SetOutput(&logs))
	io := logx.Streams{In: strings.NewReader(""), Out: &out, Err: &errs}
	if code := Command([]string{"status", "--frob"}, io); code != 1 {
		t.Errorf("status --frob ended with %d", code)
	}
	if want := recorded(t, "wrong-flag.txt"); out.String() != want {
		t.Errorf("stdout:\n%s\nrecorded:\n%s", out.String(), want)
	}
	if want := `level=fatal msg="Error: flag provided but not defined: -frob"`; !strings.Contains(logs.String(), want) {
		t.Errorf("log: %s", logs.String())
	}
	if code := Command([]string{"frobnicate"}, io); code != 3 {
		t.Errorf("frobnicate ended with %d", code)
	}
	if errs.String() != "No help topic for 'frobnicate'\n" {
		t.Errorf("stderr: %q", errs.String())
	}
}

func TestConfigurationIsWrittenByteForByteAsRecorded(t *testing.T) {
	one := Providers{Keys: []Key{{Name: "aescbckey", Secret: "<32 bytes base64>"}}, Enabled: true}
	on := `{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1","resources":[{"resources":["secrets"],"providers":[{"aescbc":{"keys":[{"name":"aescbckey","secret":"<32 bytes base64>"}]}},{"identity":{}}]}]}`
	off := `{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1","resources":[{"resources":["secrets"],"providers":[{"identity":{}},{"aescbc":{"keys":[{"name":"aescbckey","secret":"<32 bytes base64>"}]}}]}]}`
	for want, providers := range map[string]Providers{on: one, off: {Keys: one.Keys}} {
		data, err := providers.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		// encoding/json writes < and > of the recording's placeholder as escapes; real keys have none.
		got := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(string(data))
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		back, err := Parse(data)
		if err != nil || back.Enabled != providers.Enabled || len(back.Keys) != 1 || back.Keys[0] != one.Keys[0] {
			t.Errorf("read back %+v, %v", back, err)
		}
	}
	if _, err := Read(""); err == nil || err.Error() != "open : no such file or directory" {
		t.Errorf("reading nothing: %v", err)
	}
}

func TestRequestsAreRefusedInTheRecordedOrderAndWords(t *testing.T) {
	same := func() (string, error) { return "aa", nil }
	cases := []struct {
		request string
		nodes   []NodeState
		self    NodeState
		want    string
	}{
		{StageRotate, []NodeState{{"n2", ""}}, NodeState{"n2", ""}, "missing annotation on node n2"},
		{StageRotate, nil, NodeState{"n1", "start-aa"}, "incorrect stage: start found on node n1"},
		{StageReencryptRequest, nil, NodeState{"n1", "prepare-aa"}, "incorrect stage: prepare found on node n1"},
		{StageReencryptRequest, nil, NodeState{"n1", "reencrypt_finished-bb"}, "incorrect stage: reencrypt_finished found on node n1"},
		{StageRotateKeys, nil, NodeState{"n1", "reencrypt_active-aa"}, "incorrect stage: reencrypt_active found on node n1"},
		{StageRotateKeys, nil, NodeState{"n1", "start-bb"}, "invalid hash: bb found on node n1"},
		{StagePrepare, []NodeState{{"n1", "start-aa"}, {"n2", "start-bb"}}, NodeState{"n1", "prepare-aa"}, "hash does not match between n1 and n2"},
		{StagePrepare, []NodeState{{"n1", "start-aa"}, {"n2", "start-aa"}, {"n3", "prepare-aa"}}, NodeState{"n1", "start-aa"},
			"hash does not match between n1 and n3"},
		{StagePrepare, []NodeState{{"n2", "start-aa"}, {"n3", ""}, {"n4", ""}}, NodeState{"n2", "start-aa"}, ""},
		{StageRotateKeys, nil, NodeState{"n1", "reencrypt_finished-aa"}, ""},
		{StageRotate, nil, NodeState{"n1", "prepare-aa"}, ""},
		{StageReencryptRequest, nil, NodeState{"n1", "rotate-aa"}, ""},
	}
	for _, c := range cases {
		got := ""
		if err := Verify(c.request, c.nodes, c.self, same); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s at %v: %q, recorded %q", c.request, c.self, got, c.want)
		}
	}
}
