package token

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
)

func recorded(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestHelpAndEmptyListReadAsRecorded(t *testing.T) {
	var out bytes.Buffer
	if code := Command([]string{"rotate", "--help"}, logx.Streams{Out: &out, Err: io.Discard}); code != 0 {
		t.Errorf("code %d", code)
	}
	if want := recorded(t, "rotate-help.txt"); out.String() != want {
		t.Errorf("got:\n%s\nrecorded:\n%s", out.String(), want)
	}
	out.Reset()
	if err := printTokens(&out, nil, time.Now()); err != nil || out.String() != recorded(t, "list.txt") {
		t.Errorf("got %q, recorded %q", out.String(), recorded(t, "list.txt"))
	}
}

func TestGeneratedTokensHaveTheirForm(t *testing.T) {
	for range 20 {
		if made, err := generate(); err != nil || !bootstrapForm.MatchString(made) {
			t.Fatalf("%q, %v", made, err)
		}
	}
}

func TestPasswordsChangeOnlyWhereTheOldOneStands(t *testing.T) {
	p := paths.New(t.TempDir())
	if err := os.MkdirAll(p.Cred(), 0o700); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		p.Token():  "K10" + strings.Repeat("a", 64) + "::server:labtoken-0001\n",
		p.Passwd(): "agentsown,node,node,k3s:agent\nlabtoken-0001,server,server,k3s:server\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := writePasswords(p, "new"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(p.Passwd())
	if want := "agentsown,node,node,k3s:agent\nnew,server,server,k3s:server\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
}

func TestListNeedsTheAdminKubeconfig(t *testing.T) {
	var logs bytes.Buffer
	defer logx.SetOutput(logx.SetOutput(&logs))
	code := Command([]string{"list", "--kubeconfig", "/nosuch/k3s.yaml"}, logx.Streams{Out: io.Discard, Err: io.Discard})
	if code != 1 || !strings.Contains(logs.String(), "Error: stat /nosuch/k3s.yaml: no such file or directory") {
		t.Errorf("%d %s", code, logs.String())
	}
}
