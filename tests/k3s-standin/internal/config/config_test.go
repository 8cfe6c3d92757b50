package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"hmco-boot/k3s-standin/internal/logx"
)

func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "config.yaml")
}

func capture(t *testing.T, f func()) string {
	t.Helper()
	var b bytes.Buffer
	old := logx.SetOutput(&b)
	defer logx.SetOutput(old)
	f()
	return b.String()
}

func fileArgs(t *testing.T, files map[string]string, args ...string) []string {
	t.Helper()
	got, err := FileArgs(append([]string{"--config", write(t, files)}, args...), Known(ServerFlags()), true)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestTheLastFileInAlphabeticalOrderWinsAndPlusAppends(t *testing.T) {
	got := fileArgs(t, map[string]string{
		"config.yaml":            "token: first\ntls-san: [a]\ndisable: [x]\nnode-label:\n- foo=bar\n",
		"config.yaml.d/10.yaml":  "token: second\ntls-san+: [b, c]\n",
		"config.yaml.d/05.yml":   "node-label: [only=this]\n",
		"config.yaml.d/99.other": "token: never\n",
	})
	want := []string{"--disable=x", "--node-label=only=this", "--token=second", "--tls-san=a", "--tls-san=b", "--tls-san=c"}
	slicesEqualUnordered(t, got, want)
}

func slicesEqualUnordered(t *testing.T, got, want []string) {
	t.Helper()
	count := map[string]int{}
	for _, g := range got {
		count[g]++
	}
	for _, w := range want {
		count[w]--
	}
	for k, n := range count {
		if n != 0 {
			t.Errorf("%q: %+d; got %q, want %q", k, n, got, want)
		}
	}
}

func TestAListOnTheCommandLineReplacesTheFilesList(t *testing.T) {
	got := fileArgs(t, map[string]string{"config.yaml": "disable: [a, b]\ntoken: x\n"}, "--disable", "c")
	if !reflect.DeepEqual(got, []string{"--token=x"}) {
		t.Errorf("got %q", got)
	}
}

func TestUnknownKeysAreWarnedAboutOncePerValueAndIgnored(t *testing.T) {
	var got []string
	out := capture(t, func() {
		got = fileArgs(t, map[string]string{"config.yaml": "frobnicate: true\nlisted: [a, b]\ncluster-init: true\n"})
	})
	if !reflect.DeepEqual(got, []string{"--cluster-init=true"}) {
		t.Errorf("got %q", got)
	}
	if strings.Count(out, `msg="Unknown flag --listed found in config.yaml, skipping\n"`) != 2 ||
		strings.Count(out, `level=warning msg="Unknown flag --frobnicate found in config.yaml, skipping\n"`) != 1 {
		t.Errorf("warnings:\n%s", out)
	}
}

func TestBrokenYAMLIsReportedAsRecorded(t *testing.T) {
	_, err := FileArgs([]string{"--config=" + write(t, map[string]string{"config.yaml": "token: [unclosed\n"})}, Known(ServerFlags()), true)
	if err == nil || err.Error() != "yaml: line 1: did not find expected ',' or ']'" {
		t.Errorf("got %v", err)
	}
}

func TestANamedFileMustExistAndDevNullIsEmpty(t *testing.T) {
	if _, err := FileArgs([]string{"--config", "/nosuch/config.yaml"}, Known(ServerFlags()), true); err == nil {
		t.Error("a missing file was taken for an empty one")
	}
	got, err := FileArgs([]string{"--config", "/dev/null"}, Known(ServerFlags()), true)
	if err != nil || len(got) != 0 {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestTwoFormsOfOneFlagAreRefusedAsRecorded(t *testing.T) {
	flags := []Flag{{Names: []string{"snapshot-retention", "etcd-snapshot-retention"}, Kind: Int, Default: "5"}}
	_, err := Parse(flags, []string{"--etcd-snapshot-retention=3", "--snapshot-retention", "2"})
	if !errors.Is(err, ErrUsage) || err.Error() != "Cannot use two forms of the same flag: etcd-snapshot-retention snapshot-retention" {
		t.Errorf("got %v", err)
	}
}

func TestAnUnknownFlagIsAUsageError(t *testing.T) {
	_, err := Parse(ServerFlags(), []string{"--frob"})
	if !errors.Is(err, ErrUsage) || err.Error() != "flag provided but not defined: -frob" {
		t.Errorf("got %v", err)
	}
}

func TestConfiguredValuesBeatTheEnvironment(t *testing.T) {
	t.Setenv("K3S_TOKEN", "from-env")
	file := write(t, map[string]string{"config.yaml": "token: from-file\n"})
	c, err := LoadServer([]string{"--config", file, "--node-ip", "10.0.0.1"})
	if err != nil || c.Token != "from-file" {
		t.Errorf("token %q, %v", c.Token, err)
	}
	file = write(t, map[string]string{"config.yaml": "cluster-init: true\n"})
	if c, err = LoadServer([]string{"--config", file, "--node-ip", "10.0.0.1"}); err != nil || c.Token != "from-env" {
		t.Errorf("token %q, %v", c.Token, err)
	}
}

func TestATokenFileBeatsAToken(t *testing.T) {
	file := write(t, map[string]string{"config.yaml": "token: from-config\n", "token": "from-token-file\n"})
	c, err := LoadServer([]string{"--config", file, "--node-ip", "10.0.0.1", "--token-file", filepath.Join(filepath.Dir(file), "token")})
	if err != nil || c.Token != "from-token-file" {
		t.Errorf("token %q, %v", c.Token, err)
	}
}

func TestAServerWithoutTokenKeepsItsDataInSQLite(t *testing.T) {
	for args, etcd := range map[string]bool{
		"--cluster-init":                      true,
		"--server https://10.0.0.2:6443":      false,
		"--server https://10.0.0.2 --token x": true,
		"--token x":                           false,
	} {
		c, err := LoadServer(append(strings.Fields(args), "--config", "/dev/null", "--node-ip", "10.0.0.1"))
		if err != nil {
			t.Fatal(err)
		}
		if c.Etcd() != etcd {
			t.Errorf("%s: etcd %v", args, c.Etcd())
		}
	}
}

func TestCriticalSettingsThatDifferAreNamed(t *testing.T) {
	a, err := LoadServer([]string{"--config", "/dev/null", "--node-ip", "10.0.0.1", "--secrets-encryption", "--flannel-backend", "host-gw"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := LoadServer([]string{"--config", "/dev/null", "--node-ip", "10.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	got := Mismatches(a.Critical(), b.Critical())
	if !reflect.DeepEqual(got, []string{"flannel-backend", "secrets-encryption"}) {
		t.Errorf("got %q", got)
	}
	if a.ClusterDNS != "10.43.0.10" {
		t.Errorf("cluster-dns %q", a.ClusterDNS)
	}
}
