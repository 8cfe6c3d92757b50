package integration

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestJoinsAreRefusedAsLongAsAskedFor: an agent goes on trying, a server ends; both join once they are let in.
func TestJoinsAreRefusedAsLongAsAskedFor(t *testing.T) {
	c := &cluster{network: newNetwork(t), t: t}
	first := c.add()

	agent := c.machine("n2")
	agent.write(configFile, "server: https://"+first.address+":6443\ntoken: integration\n")
	first.write(faultsFile, "fail join.agent nobody is let in\nfail join.server nobody is let in\n")
	agent.write(faultsFile, "fail agent.connect times=1 the cable is out\n")
	agent.launch("agent")
	agent.awaitLog("the cable is out", 30*time.Second)
	agent.awaitLog("failed to retrieve configuration from server: nobody is let in", 30*time.Second)

	server := c.machine("n3")
	server.config("server: https://" + first.address + ":6443\ntoken: integration\n" + fewer)
	server.launch()
	if code := server.ended(time.Minute); code != 1 || !strings.Contains(server.log(), "nobody is let in") {
		t.Errorf("a server that is refused: status %d\n%s", code, tail(server.log(), 1000))
	}
	if out := first.kubectl("get", "nodes", "--no-headers"); strings.Count(out, "\n") != 1 {
		t.Errorf("nodes: %s", out)
	}
	first.write(faultsFile, "\n")
	first.awaitNode("n2")
	server.up()
	first.awaitNode("n3")
}

// TestCertificatesOfTheAdministratorExpire: the control plane goes on, kubectl does not; a restart renews.
func TestCertificatesOfTheAdministratorExpire(t *testing.T) {
	torture(t, "1 minute")
	const life = 40 * time.Second
	m := newNetwork(t).machine("n1")
	m.config("cluster-init: true\ntoken: integration\n" + fewer)
	m.write(faultsFile, "certs "+life.String()+"\n")
	m.up()
	until := m.expiry("client-admin")
	if left := time.Until(until); left > life {
		t.Errorf("the administrator's certificate lives for another %s", left)
	}
	if left := time.Until(m.expiry("client-controller")); left < 300*24*time.Hour {
		t.Errorf("the controller manager's certificate lives for another %s only", left)
	}
	calls := m.plain(t)
	if code, _, err := calls.get("/api/v1/namespaces"); err != nil || code != http.StatusOK {
		t.Errorf("before it has expired: %d, %v", code, err)
	}
	m.await("it has expired", 2*life, func() bool {
		calls.client.CloseIdleConnections()
		code, _, err := calls.get("/api/v1/namespaces")
		return err != nil && time.Now().After(until) || code == http.StatusUnauthorized
	})
	if out, err := m.try("get", "nodes"); err == nil {
		t.Errorf("kubectl with an expired certificate: %s", out)
	}
	m.write(faultsFile, "\n")
	if code := m.stop(); code != 0 {
		t.Errorf("status %d", code)
	}
	m.up()
	m.awaitNode("n1")
	if left := time.Until(m.expiry("client-admin")); left < 300*24*time.Hour {
		t.Errorf("after a restart the certificate lives for another %s", left)
	}
}

// expiry is when a server's certificate ends.
func (m *machine) expiry(name string) time.Time {
	m.t.Helper()
	block, _ := pem.Decode([]byte(m.read(rancher + "/server/tls/" + name + ".crt")))
	if block == nil {
		m.t.Fatalf("no certificate %s", name)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		m.t.Fatal(err)
	}
	return cert.NotAfter
}
