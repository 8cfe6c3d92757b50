package pki

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
)

func made(t *testing.T) (paths.Data, Names) {
	t.Helper()
	t.Cleanup(func(old io.Writer) func() { return func() { logx.SetOutput(old) } }(logx.SetOutput(io.Discard)))
	p := paths.New(t.TempDir())
	n := Names{NodeName: "n1", NodeIP: "172.30.7.11", ServiceIP: "10.43.0.1", ClusterDomain: "cluster.local"}
	if err := EnsureCAs(p); err != nil {
		t.Fatal(err)
	}
	if err := EnsureLeaves(p, n); err != nil {
		t.Fatal(err)
	}
	return p, n
}

func TestCertificatesHaveTheRecordedSubjectsAndModes(t *testing.T) {
	p, _ := made(t)
	for file, subject := range map[string]string{
		"client-admin.crt":                "CN=system:admin,O=system:masters",
		"client-supervisor.crt":           "CN=system:k3s-supervisor,O=system:masters",
		"client-controller.crt":           "CN=system:kube-controller-manager",
		"client-k3s-cloud-controller.crt": "CN=k3s-cloud-controller-manager",
		"serving-kube-apiserver.crt":      "CN=kube-apiserver",
		"etcd/peer-server-client.crt":     "CN=etcd-peer",
	} {
		certs, err := Certificates(p.TLS(file))
		if err != nil {
			t.Fatal(err)
		}
		if got := certs[0].Subject.String(); got != subject || len(certs) != 2 {
			t.Errorf("%s: %s, %d certificates", file, got, len(certs))
		}
		info, err := os.Stat(p.TLS(file))
		if err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("%s: %v %v", file, info.Mode(), err)
		}
	}
	for _, file := range []string{"server-ca.key", "service.key", "service.current.key", "client-kubelet.key"} {
		if info, err := os.Stat(p.TLS(file)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", file, err)
		}
	}
	ca, err := Certificates(p.TLS("server-ca.crt"))
	if err != nil || !strings.HasPrefix(ca[0].Subject.CommonName, "k3s-server-ca@") {
		t.Errorf("%v %v", ca[0].Subject, err)
	}
}

func TestTheFingerprintIsThatOfTheWholeFile(t *testing.T) {
	p, _ := made(t)
	data, err := os.ReadFile(p.TLS("server-ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	if got, err := Fingerprint(p.TLS("server-ca.crt")); err != nil || got != hex.EncodeToString(sum[:]) {
		t.Errorf("%s %v", got, err)
	}
}

func TestASecondStartChangesNothing(t *testing.T) {
	p, n := made(t)
	before := snapshot(t, p)
	if err := EnsureCAs(p); err != nil {
		t.Fatal(err)
	}
	if err := EnsureLeaves(p, n); err != nil {
		t.Fatal(err)
	}
	for file, text := range snapshot(t, p) {
		if before[file] != text {
			t.Errorf("%s changed", file)
		}
	}
}

func TestLeavesAreRenewedBeforeTheirEndWithTheSameKey(t *testing.T) {
	p, n := made(t)
	before := snapshot(t, p)
	later := time.Now().Add(LeafLife - RenewUnder + time.Hour)
	SetClock(func() time.Time { return later })
	defer SetClock(time.Now)
	if err := EnsureLeaves(p, n); err != nil {
		t.Fatal(err)
	}
	after := snapshot(t, p)
	if before["client-admin.crt"] == after["client-admin.crt"] || before["etcd/client.crt"] == after["etcd/client.crt"] {
		t.Error("not renewed")
	}
	if before["client-admin.key"] != after["client-admin.key"] || before["server-ca.crt"] != after["server-ca.crt"] {
		t.Error("key or CA changed")
	}
	end, err := Expires(p.TLS("client-admin.crt"))
	if err != nil || end.Before(later.Add(LeafLife-time.Minute)) {
		t.Errorf("ends %v, %v", end, err)
	}
}

func TestALeafOfAnotherAuthorityIsMadeAnew(t *testing.T) {
	p, n := made(t)
	for _, f := range []string{"client-ca.crt", "client-ca.key"} {
		if err := os.Remove(p.TLS(f)); err != nil {
			t.Fatal(err)
		}
	}
	if err := EnsureCAs(p); err != nil {
		t.Fatal(err)
	}
	if err := EnsureLeaves(p, n); err != nil {
		t.Fatal(err)
	}
	ca, err := Certificates(p.TLS("client-ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := Certificates(p.TLS("client-admin.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca[0])
	if _, err := leaf[0].Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
}

func snapshot(t *testing.T, p paths.Data) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, f := range []string{"client-admin.crt", "client-admin.key", "server-ca.crt", "etcd/client.crt", "etcd/server-client.crt", "service.key"} {
		data, err := os.ReadFile(p.TLS(f))
		if err != nil {
			t.Fatal(err)
		}
		out[f] = string(data)
	}
	return out
}
