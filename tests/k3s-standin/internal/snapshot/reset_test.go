package snapshot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/paths"
)

// stopped is the data folder of a stopped server with something like a database.
func stopped(t *testing.T, restore string) *resetting {
	t.Helper()
	logs(t)
	p := paths.New(t.TempDir())
	if err := os.MkdirAll(p.Etcd("member", "wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.Etcd("name"), []byte("n3-9705882c"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &resetting{p: p, cfg: &config.Config{ClusterReset: true, RestorePath: restore, NodeName: "n3", NodeIP: "172.30.7.13"}}
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	var out []string
	for _, e := range entries {
		name := e.Name()
		if at := strings.Index(name, "-old-"); at > 0 {
			name = name[:at+5]
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

func TestADamagedSnapshotIsFoundOnlyAfterTheDatabaseWasMovedAway(t *testing.T) {
	dir := t.TempDir()
	cases := []struct {
		file         string
		data         []byte
		want         string
		db, leftover string
	}{
		{"truncated", make([]byte, 200000), "snapshot missing hash but --skip-hash-check=false", "etcd etcd-old-", "member"},
		{"altered", make([]byte, 512*8+32), "expected sha256 [0 0 0 0 0 0 ", "etcd etcd-old-", "member"},
		{"empty", nil, "seek " + filepath.Join(dir, "empty") + ": invalid argument", "etcd-old-", ""},
	}
	for _, c := range cases {
		path := filepath.Join(dir, c.file)
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		r := stopped(t, path)
		err := r.restore()
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, recorded %s", c.file, err, c.want)
		}
		if got := names(t, r.p.DB()); got != c.db {
			t.Errorf("%s: db holds %q, recorded %q", c.file, got, c.db)
		}
		if got := names(t, r.p.Etcd()); got != c.leftover {
			t.Errorf("%s: db/etcd holds %q, recorded %q", c.file, got, c.leftover)
		}
	}
}

func TestAMissingSnapshotIsRefusedBeforeAnythingIsMoved(t *testing.T) {
	r := stopped(t, "/srv/keep/nosuch")
	if err := r.restore(); err == nil || err.Error() != "etcd: snapshot path does not exist: /srv/keep/nosuch" {
		t.Errorf("%v", err)
	}
	if got := names(t, r.p.DB()); got != "etcd" {
		t.Errorf("db holds %q", got)
	}
}

func TestTwoResetsInOneSecondCollide(t *testing.T) {
	r := stopped(t, "")
	path := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.cfg.RestorePath = path
	now := time.Now().Unix()
	for _, unix := range []int64{now, now + 1, now + 2} {
		if err := os.MkdirAll(oldPlace(r.p, unix), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	err := r.restore()
	if err == nil || !strings.HasPrefix(err.Error(), "rename "+r.p.Etcd()+" "+r.p.Etcd()+"-old-") || !strings.HasSuffix(err.Error(), ": file exists") {
		t.Errorf("%v", err)
	}
}

func TestAResetIsRefusedAsRecorded(t *testing.T) {
	r := stopped(t, "")
	if err := os.WriteFile(r.p.ResetFlag(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := r.database(t.Context())
	want := "Managed etcd cluster membership was previously reset, please remove the cluster-reset flag and start k3s normally. " +
		"If you need to perform another cluster reset, you must first manually delete the file at " + r.p.ResetFlag()
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	r.cfg.RestorePath = "/srv/keep/a"
	if err := CheckReset(r.cfg, r.p); err == nil || err.Error() != r.p.Token()+" does not exist, please pass --token to complete the restoration" {
		t.Errorf("%v", err)
	}
	r.cfg.ServerURL = "https://172.30.7.11:6443"
	want = "cannot perform cluster-reset while server URL is set - remove server from configuration before resetting"
	if err := CheckReset(r.cfg, r.p); err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}
