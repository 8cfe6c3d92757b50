package bootstrap

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
)

func put(t *testing.T, file, text string, when time.Time) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, when, when); err != nil {
		t.Fatal(err)
	}
}

func reconcile(t *testing.T, p paths.Data, r Record) (string, error) {
	t.Helper()
	var b bytes.Buffer
	defer logx.SetOutput(logx.SetOutput(&b))
	err := Reconcile(p, r, false)
	return b.String(), err
}

var then = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)

func TestAnOlderFileIsUpdatedFromTheDatastore(t *testing.T) {
	p := paths.New(t.TempDir())
	put(t, p.EncryptionConfig(), "old", then.Add(-time.Hour))
	out, err := reconcile(t, p, Record{"EncryptionConfig": {Timestamp: then, Content: []byte("new")}})
	if err != nil {
		t.Fatal(err)
	}
	data, _ := os.ReadFile(p.EncryptionConfig())
	if string(data) != "new" || !strings.Contains(out, p.EncryptionConfig()+" will be updated from the datastore.") ||
		!strings.Contains(out, "Updating bootstrap data on disk from datastore") {
		t.Errorf("%q\n%s", data, out)
	}
}

func TestANewerFileThatDiffersEndsTheStart(t *testing.T) {
	p := paths.New(t.TempDir())
	put(t, p.Passwd(), "changed", then.Add(time.Hour))
	_, err := reconcile(t, p, Record{"PasswdFile": {Timestamp: then, Content: []byte("stored")}})
	var newer *NewerError
	if !errors.As(err, &newer) || err.Error() != p.Passwd()+" newer than datastore and could cause a cluster outage. "+
		"Remove the file(s) from disk and restart to be recreated from datastore." {
		t.Errorf("got %v", err)
	}
	data, _ := os.ReadFile(p.Passwd())
	if string(data) != "changed" {
		t.Errorf("overwritten: %q", data)
	}
}

func TestANewerFileOfTheSameContentIsLeftAlone(t *testing.T) {
	p := paths.New(t.TempDir())
	put(t, p.Passwd(), "same", then.Add(time.Hour))
	if out, err := reconcile(t, p, Record{"PasswdFile": {Timestamp: then, Content: []byte("same")}}); err != nil || strings.Contains(out, "Updating") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestAMissingFileComesBackFromTheDatastore(t *testing.T) {
	p := paths.New(t.TempDir())
	out, err := reconcile(t, p, Record{"ServerCAKey": {Timestamp: then, Content: []byte("key")}})
	if err != nil || !strings.Contains(out, p.TLS("server-ca.key")+" doesn't exist. continuing...") {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(p.TLS("server-ca.key"))
	if err != nil || info.Mode().Perm() != 0o600 || !info.ModTime().Equal(then) {
		t.Errorf("%v %v", info, err)
	}
}

func TestWhatTheRecordDoesNotHaveStays(t *testing.T) {
	p := paths.New(t.TempDir())
	put(t, p.EncryptionConfig(), "own", then)
	if _, err := reconcile(t, p, Record{"ServiceKey": {Timestamp: then, Content: []byte("k")}}); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(p.EncryptionConfig()); string(data) != "own" {
		t.Errorf("%q", data)
	}
}
