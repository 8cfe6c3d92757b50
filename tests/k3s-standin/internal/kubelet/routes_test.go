package kubelet

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The routes are tried in a network namespace of the test's own.
func TestPacketsToPodsAndServicesStayOnTheMachine(t *testing.T) {
	if os.Getenv("ROUTES_INSIDE") == "" {
		cmd := exec.Command("unshare", "-n", "--", os.Args[0], "-test.run", "TestPacketsToPodsAndServices", "-test.v")
		cmd.Env = append(os.Environ(), "ROUTES_INSIDE=1")
		out, err := cmd.CombinedOutput()
		if err != nil && (os.Geteuid() != 0 || strings.Contains(string(out), "unshare")) {
			t.Skipf("SKIPPED: needs root and unshare for a network namespace: %v %s", err, out)
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: needs ip: %v %s", err, out)
	}
	for range 2 { // a second time changes nothing
		if err := KeepLocal("10.42.0.0/16"); err != nil {
			t.Fatal(err)
		}
		if err := KeepUnreachable("10.43.0.0/16"); err != nil {
			t.Fatal(err)
		}
	}
	for address, want := range map[string]string{"10.42.3.4:9443": "connection refused", "10.43.0.1:443": "no route to host"} {
		conn, err := net.DialTimeout("tcp", address, 5*time.Second)
		if err == nil {
			_ = conn.Close()
			t.Errorf("%s answered", address)
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", address, err)
		}
	}
}
