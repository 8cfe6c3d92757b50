package cli

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
)

func run(t *testing.T, argv ...string) (int, string, string) {
	t.Helper()
	var out, errs bytes.Buffer
	defer logx.SetOutput(logx.SetOutput(&errs))
	code := Main(argv, logx.Streams{Out: &out, Err: &errs})
	return code, out.String(), errs.String()
}

func TestTheProgramsNameChoosesTheCommand(t *testing.T) {
	code, out, _ := run(t, "/usr/local/bin/k3s", "--version")
	if code != 0 || !strings.HasPrefix(out, "k3s version v1.32.2+k3s1 (381620ef)\ngo version go1.") {
		t.Errorf("%d %q", code, out)
	}
	if code, _, errs := run(t, "k3s", "frobnicate"); code != 3 || errs != "No help topic for 'frobnicate'\n" {
		t.Errorf("%d %q", code, errs)
	}
	if code, _, _ := run(t, "/usr/local/bin/crictl", "ps"); code == 0 {
		t.Error("crictl did not refuse")
	}
}

func TestAWrongConfigurationEndsTheServerAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.yaml")
	if err := os.WriteFile(file, []byte("token: [unclosed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, errs := run(t, "k3s", "server", "--config", file)
	if code != 1 || !strings.HasSuffix(errs, `level=fatal msg="yaml: line 1: did not find expected ',' or ']'"`+"\n") {
		t.Errorf("%d %s", code, errs)
	}
	code, out, errs := run(t, "k3s", "server", "--frob", "--config", "/dev/null")
	if code != 1 || !strings.HasPrefix(out, "Incorrect Usage: flag provided but not defined: -frob") ||
		!strings.Contains(errs, `level=fatal msg="Error: flag provided but not defined: -frob"`) {
		t.Errorf("%d %s %s", code, out, errs)
	}
}

func TestTheTokenComesFromConfigurationThenFileThenChance(t *testing.T) {
	p := paths.New(t.TempDir())
	s := &server{cfg: &config.Config{}, p: p}
	if err := s.findPassword(); err != nil || len(s.password) != 32 {
		t.Errorf("%q %v", s.password, err)
	}
	if err := os.MkdirAll(p.Server(), 0o700); err != nil {
		t.Fatal(err)
	}
	hash := strings.Repeat("0a", 32)
	if err := os.WriteFile(p.Token(), []byte("K10"+hash+"::server:from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.findPassword(); err != nil || s.password != "from-file" {
		t.Errorf("%q %v", s.password, err)
	}
	s.cfg.Token = "K10" + hash + "::server:configured"
	if err := s.findPassword(); err != nil || s.password != "configured" {
		t.Errorf("%q %v", s.password, err)
	}
}

func TestOnlyTheServerItselfSaysReady(t *testing.T) {
	file := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: file, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nothing is lost
	t.Setenv(notifyEnv, file)
	name := takeNotifySocket()
	if name != file || os.Getenv(notifyEnv) != "" {
		t.Fatalf("%q is left for others", os.Getenv(notifyEnv))
	}
	if err := notifyReady(name); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64)
	n, err := l.Read(buf)
	if err != nil || string(buf[:n]) != "READY=1\n" {
		t.Errorf("%q %v", buf[:n], err)
	}
	if err := notifyReady(""); err != nil {
		t.Errorf("without systemd: %v", err)
	}
}

func TestLinksAreMadeOnceAndRepaired(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "node-token")
	for _, target := range []string{filepath.Join(dir, "a"), filepath.Join(dir, "a"), filepath.Join(dir, "b")} {
		if err := link(target, name); err != nil {
			t.Fatal(err)
		}
		if got, err := os.Readlink(name); err != nil || got != target {
			t.Errorf("%s %v", got, err)
		}
	}
}
