package components

import (
	"strings"
	"testing"

	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/paths"
)

func TestArgumentsReadAsRecorded(t *testing.T) {
	c, err := config.LoadServer([]string{
		"--config", "/dev/null", "--node-ip", "10.0.0.1", "--cluster-init", "--data-dir", "/srv/dd", "--secrets-encryption",
		"--kube-apiserver-arg", "admission-control-config-file=/nosuch.yaml", "--disable", "servicelb",
	})
	if err != nil {
		t.Fatal(err)
	}
	p := paths.New(c.DataDir)
	api := strings.Join(apiServerArgs(Options{Config: c, Paths: p, Etcd: "https://127.0.0.1:2379"}).flags(), " ")
	if !strings.HasPrefix(api, "--admission-control-config-file=/nosuch.yaml --advertise-port=6443 --allow-privileged=true --anonymous-auth=false "+
		"--api-audiences=https://kubernetes.default.svc.cluster.local,k3s --authorization-mode=Node,RBAC --bind-address=127.0.0.1 "+
		"--cert-dir=/srv/dd/server/tls/temporary-certs --client-ca-file=/srv/dd/server/tls/client-ca.crt "+
		"--egress-selector-config-file=/srv/dd/server/etc/egress-selector-config.yaml --enable-admission-plugins=NodeRestriction "+
		"--enable-aggregator-routing=true --enable-bootstrap-token-auth=true --encryption-provider-config=/srv/dd/server/cred/encryption-config.json "+
		"--encryption-provider-config-automatic-reload=true --etcd-cafile=/srv/dd/server/tls/etcd/server-ca.crt --etcd-") {
		t.Errorf("apiserver: %s", api)
	}
	sched := strings.Join(schedulerArgs(c, p).flags(), " ")
	if sched != "--authentication-kubeconfig=/srv/dd/server/cred/scheduler.kubeconfig --authorization-kubeconfig=/srv/dd/server/cred/scheduler.kubeconfig "+
		"--bind-address=127.0.0.1 --kubeconfig=/srv/dd/server/cred/scheduler.kubeconfig --profiling=false --secure-port=10259" {
		t.Errorf("scheduler: %s", sched)
	}
	ccm := strings.Join(cloudControllerArgs(c, p).flags(), " ")
	if !strings.Contains(ccm, "--controllers=*,-route,-service --kubeconfig=") {
		t.Errorf("cloud controller: %s", ccm)
	}
}

func TestAUsersArgumentReplacesK3sOwn(t *testing.T) {
	a := one("profiling", "false", "v", "0").with([]string{"profiling=true", "audit-log-path=/x", "--feature-gates=A=true", "tag=1", "tag=2"})
	got := strings.Join(a.flags("v"), " ")
	if got != "--audit-log-path=/x --feature-gates=A=true --profiling=true --tag=1 --tag=2" {
		t.Errorf("got %s", got)
	}
	if got := strings.Join(one("a", "1", "b", "2").with([]string{"a+=3", "b-="}).flags(), " "); got != "--a=1,3" {
		t.Errorf("got %s", got)
	}
}
