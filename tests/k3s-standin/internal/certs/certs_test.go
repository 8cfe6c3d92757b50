package certs

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
	"hmco-boot/k3s-standin/internal/pki"
)

func recorded(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func run(t *testing.T, args ...string) (code int, out, log string) {
	t.Helper()
	var stdout, logs bytes.Buffer
	old := logx.SetOutput(&logs)
	defer logx.SetOutput(old)
	code = Command(args, logx.Streams{Out: &stdout, Err: io.Discard})
	return code, stdout.String(), logs.String()
}

func TestHelpsReadAsRecorded(t *testing.T) {
	for file, args := range map[string][]string{"help.txt": {"--help"}, "rotate-ca-help.txt": {"rotate-ca", "--help"}} {
		if code, out, _ := run(t, args...); code != 0 || out != recorded(t, file) {
			t.Errorf("%v: %d\n%s\nrecorded:\n%s", args, code, out, recorded(t, file))
		}
	}
}

func TestTheTableHasTheRecordedShape(t *testing.T) {
	var list []entry
	for _, line := range strings.Split(recorded(t, "table.txt"), "\n")[3:] {
		f := strings.Fields(line)
		if len(f) != 4 {
			continue
		}
		at, err := time.Parse(time.RFC3339, f[3])
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, entry{file: "/x/" + f[0], subject: f[1], status: f[2], expires: at})
	}
	var out bytes.Buffer
	if err := printTable(&out, list); err != nil || out.String() != recorded(t, "table.txt") || len(list) != 30 {
		t.Errorf("%d lines:\n%s", len(list), out.String())
	}
}

func server(t *testing.T) paths.Data {
	t.Helper()
	p := paths.New(t.TempDir())
	old := logx.SetOutput(io.Discard)
	defer logx.SetOutput(old)
	if err := os.MkdirAll(p.Cred(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := pki.EnsureCAs(p); err != nil {
		t.Fatal(err)
	}
	if err := pki.EnsureLeaves(p, pki.Names{NodeName: "n2", NodeIP: "172.30.7.12", ServiceIP: "10.43.0.1", ClusterDomain: "cluster.local"}); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCheckSpeaksAsRecorded(t *testing.T) {
	p := server(t)
	code, out, log := run(t, "check", "--data-dir", p.Dir)
	for _, want := range []string{
		`level=info msg="Server detected, checking agent and server certificates"`,
		`level=info msg="Checking certificates for etcd"`,
		`/client-admin.crt: certificate CN=system:admin,O=system:masters is ok, expires at 2`,
		`/client-admin.crt: certificate CN=k3s-client-ca@`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("%s is missing in\n%s", want, log)
		}
	}
	if code != 0 || out != "" {
		t.Errorf("code %d, stdout %q", code, out)
	}
	for args, want := range map[string]string{
		"check -o json --data-dir " + p.Dir:               "Error: invalid output format json",
		"check --service nosuch --data-dir " + p.Dir:      "Error: service nosuch is not recognized",
		"rotate --service admin,etcd --data-dir " + p.Dir: "Error: service admin,etcd is not recognized",
	} {
		if code, _, log := run(t, strings.Fields(args)...); code != 1 || !strings.Contains(log, want) {
			t.Errorf("%s: %d %s", args, code, log)
		}
	}
}

func TestRotateLeavesWhatWasRecorded(t *testing.T) {
	p := server(t)
	code, _, log := run(t, "rotate", "--data-dir", p.Dir)
	if code != 0 || !strings.Contains(log, "Successfully backed up certificates to "+p.TLS()+"-") {
		t.Fatalf("code %d: %s", code, log)
	}
	entries, err := os.ReadDir(p.TLS())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := "client-ca.crt client-ca.key client-ca.nochain.crt dynamic-cert-regenerate etcd request-header-ca.crt " +
		"request-header-ca.key server-ca.crt server-ca.key server-ca.nochain.crt service.current.key service.key temporary-certs"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("left:\n%s\nrecorded (without dynamic-cert.json):\n%s", got, want)
	}
}
