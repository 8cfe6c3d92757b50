package snapshot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

func logs(t *testing.T) *bytes.Buffer {
	t.Helper()
	var out bytes.Buffer
	old := logx.SetOutput(&out)
	t.Cleanup(func() { logx.SetOutput(old) })
	return &out
}

var taken = File{
	Name: "hmco-x-n3-1795252371", Node: "n3", Size: 557088, Created: time.Unix(1795252371, 0),
	Location: "file:///var/lib/rancher/k3s/server/db/snapshots/hmco-x-n3-1795252371",
}

func TestListsArePrintedAsRecorded(t *testing.T) {
	for output, file := range map[string]string{"": "ls.txt", "json": "ls.json", "yaml": "ls.yaml"} {
		var out bytes.Buffer
		if err := listingOf([]File{taken}).print(&out, output); err != nil {
			t.Fatal(err)
		}
		if want := recorded(t, file); out.String() != want {
			t.Errorf("%q:\n%s\nrecorded:\n%s", output, out.String(), want)
		}
	}
	var out bytes.Buffer
	if err := listingOf(nil).print(&out, "json"); err != nil || out.String() != recorded(t, "ls-empty.json") {
		t.Errorf("empty: %s", out.String())
	}
}

func TestObjectsHaveTheRecordedNames(t *testing.T) {
	at := func(name, node, location string, unix int64) File {
		return File{Name: name, Node: node, Location: location, Created: time.Unix(unix, 0)}
	}
	dir := "file:///var/lib/rancher/k3s/server/db/snapshots/"
	cases := map[string]File{
		"local-hmco-x-n3-1795252371-463abf":        taken,
		"local-hmco-d-n3-1795252385-19694a":        at("hmco-d-n3-1795252385", "n3", "file:///srv/snaps/hmco-d-n3-1795252385", 1795252385),
		"local-hmco-z-n3-1795252382.zip-42d01f":    at("hmco-z-n3-1795252382.zip", "n3", dir+"hmco-z-n3-1795252382.zip", 1795252382),
		"local-etcd-snapshot-n3-1795252388-853dfb": at("hmco_X-n3-1795252388", "n3", dir+"hmco_X-n3-1795252388", 1795252388),
		"local-etcd-snapshot-n3-1795252387-8721d6": at("hmco x/y-n3-1795252387", "n3", "", 1795252387), // failed: no location
		"local-hmco-full-n1-1795253877-676b8b":     at("hmco-full-n1-1795253877", "n1", "", 1795253877),
		"local-etcd-snapshot-n2-1795253762-4e4fcb": at("etcd-snapshot-n2-1795253762", "n2", dir+"etcd-snapshot-n2-1795253762", 1795253762),
	}
	for want, file := range cases {
		if got := file.ObjectName(); got != want {
			t.Errorf("%s: %s, recorded %s", file.Name, got, want)
		}
	}
}

func TestRetentionCountsByPrefixAndRemovesTheOldest(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"etcd-snapshot-n3-1795252385", "hmco-x-n3-1795252371", "hmco-x-n3-1795252379", "hmco-x-n3-1795252391",
		"hmco-x-n3-1795252393", "hmco-x-n3-1795252395", "hmco-x-n3-1795252397", "on-demand-n3-1795252381",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	said := logs(t)
	gone, err := prune(dir, "n3", "hmco-x", 3)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(gone, " "); got != "hmco-x-n3-1795252391 hmco-x-n3-1795252379 hmco-x-n3-1795252371" {
		t.Errorf("removed %s", got)
	}
	if !strings.Contains(said.String(), "Applying snapshot retention=3 to local snapshots with prefix hmco-x in "+dir) {
		t.Errorf("log: %s", said)
	}
	if gone, err := prune(dir, "n3", "hmco-x", 0); err != nil || len(gone) != 0 {
		t.Errorf("retention 0 removed %v, %v", gone, err)
	}
	left, err := List(dir, "n3")
	if err != nil || len(left) != 5 {
		t.Errorf("%d files left, %v", len(left), err)
	}
}

func TestBothFormsOfAFlagAreRefusedAsRecorded(t *testing.T) {
	said := logs(t)
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte("cluster-init: true\netcd-snapshot-retention: 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("K3S_CONFIG_FILE", file)
	var out bytes.Buffer
	code := Command([]string{"prune", "--name", "hmco-x", "--snapshot-retention", "0"}, logx.Streams{Out: &out, Err: io.Discard})
	if code != 1 || out.String() != recorded(t, "two-forms.txt") {
		t.Errorf("code %d\n%s\nrecorded:\n%s", code, out.String(), recorded(t, "two-forms.txt"))
	}
	for _, want := range []string{
		`level=warning msg="Unknown flag --cluster-init found in config.yaml, skipping\n"`,
		`level=fatal msg="Error: Cannot use two forms of the same flag: etcd-snapshot-retention snapshot-retention"`,
	} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("%s is missing in\n%s", want, said)
		}
	}
}

// stream is a database as etcd delivers it.
type stream struct {
	data []byte
	err  error
}

func (s stream) Snapshot(context.Context) (io.ReadCloser, error) {
	if s.err != nil {
		return nil, s.err
	}
	return io.NopCloser(bytes.NewReader(s.data)), nil
}

func TestAFailedSaveLeavesNoFileAndSaysWhyOnlyInItsObject(t *testing.T) {
	dir := t.TempDir()
	said := logs(t)
	file := save(context.Background(), stream{}, dir, "hmco x/y", "n3", false)
	part := filepath.Join(dir, file.Name) + ".part"
	want := "could not open " + part + " (open " + part + ": no such file or directory)"
	if file.Failure != want || file.Location != "" || file.Size != 0 {
		t.Errorf("%+v", file)
	}
	if !strings.Contains(said.String(), "level=error msg=\"Failed to take etcd snapshot: "+want) {
		t.Errorf("log: %s", said)
	}
	if file := save(context.Background(), stream{err: errors.New("no leader")}, dir, "a", "n3", false); file.Failure != "no leader" {
		t.Errorf("%+v", file)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestSavedFilesHaveTheRecordedNamesAndModes(t *testing.T) {
	dir := t.TempDir()
	logs(t)
	data := bytes.Repeat([]byte{7}, 4096)
	plain := save(context.Background(), stream{data: data}, dir, "hmco-x", "n3", false)
	packed := save(context.Background(), stream{data: data}, dir, "hmco-z", "n3", true)
	for _, c := range []struct {
		file File
		mode os.FileMode
	}{{plain, 0o600}, {packed, 0o644}} {
		info, err := os.Stat(filepath.Join(dir, c.file.Name))
		if err != nil || info.Mode().Perm() != c.mode || info.Size() != c.file.Size {
			t.Errorf("%+v: %v %v", c.file, info, err)
		}
	}
	if !strings.HasSuffix(packed.Name, ".zip") || packed.Failure != "" {
		t.Errorf("%+v", packed)
	}
	back := filepath.Join(dir, "back")
	if err := unzipFile(filepath.Join(dir, packed.Name), back); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(back)
	if err != nil || sha256.Sum256(got) != sha256.Sum256(data) {
		t.Errorf("unpacked something else: %v", err)
	}
}
