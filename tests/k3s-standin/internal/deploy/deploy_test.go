package deploy

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/paths"
	"hmco-boot/k3s-standin/internal/supervisor"
)

func staged(t *testing.T, p paths.Data, args ...string) []string {
	t.Helper()
	c, err := config.LoadServer(append([]string{"--config", "/dev/null", "--node-ip", "10.0.0.1", "--cluster-init"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	if err := Stage(supervisor.Deps{Config: c, Paths: p}); err != nil {
		t.Fatal(err)
	}
	var names []string
	files, err := os.ReadDir(p.Manifests())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		names = append(names, f.Name())
	}
	return names
}

func TestDisabledAddOnsHaveNoFile(t *testing.T) {
	p := paths.New(t.TempDir())
	all := staged(t, p)
	if !slices.Contains(all, "traefik.yaml") || !slices.Contains(all, "local-storage.yaml") {
		t.Fatalf("%q", all)
	}
	got := staged(t, p, "--disable", "traefik,servicelb", "--disable", "metrics-server", "--disable", "local-storage")
	if !slices.Equal(got, []string{"ccm.yaml", "coredns.yaml", "rolebindings.yaml", "runtimes.yaml"}) {
		t.Errorf("%q", got)
	}
}

func TestOwnManifestsAreRewrittenUnlessSkipped(t *testing.T) {
	p := paths.New(t.TempDir())
	staged(t, p)
	for _, name := range []string{"coredns", "runtimes"} {
		if err := os.WriteFile(p.Manifests(name+".yaml"), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(p.Manifests("runtimes.yaml.skip"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	staged(t, p)
	if text, _ := os.ReadFile(p.Manifests("coredns.yaml")); !strings.Contains(string(text), "10.43.0.10") {
		t.Errorf("coredns: %.80s", text)
	}
	if text, _ := os.ReadFile(p.Manifests("runtimes.yaml")); string(text) != "mine" {
		t.Errorf("runtimes: %.80s", text)
	}
}

func TestThePackagedManifestsHaveTheRecordedKinds(t *testing.T) {
	p := paths.New(t.TempDir())
	staged(t, p)
	for name, want := range map[string]string{
		"coredns": "/v1, Kind=ServiceAccount;rbac.authorization.k8s.io/v1, Kind=ClusterRole;rbac.authorization.k8s.io/v1, Kind=ClusterRoleBinding;" +
			"/v1, Kind=ConfigMap;apps/v1, Kind=Deployment;/v1, Kind=Service",
		"ccm":          "rbac.authorization.k8s.io/v1, Kind=ClusterRole;rbac.authorization.k8s.io/v1, Kind=ClusterRoleBinding;rbac.authorization.k8s.io/v1, Kind=RoleBinding",
		"rolebindings": "rbac.authorization.k8s.io/v1, Kind=ClusterRoleBinding;rbac.authorization.k8s.io/v1, Kind=ClusterRole",
	} {
		data, err := os.ReadFile(p.Manifests(name + ".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		objects, err := parseObjects(data)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range objects {
			if gvk := o.GroupVersionKind().String(); !slices.Contains(got, gvk) {
				got = append(got, gvk)
			}
		}
		if strings.Join(got, ";") != want {
			t.Errorf("%s: %s", name, strings.Join(got, ";"))
		}
	}
}

func TestListsAndEmptyDocumentsAreTakenApart(t *testing.T) {
	objects, err := parseObjects([]byte("---\n# nothing\n---\napiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: a}\n" +
		"---\napiVersion: v1\nkind: Secret\nmetadata: {name: b}\n"))
	if err != nil || len(objects) != 2 || objects[0].GetName() != "a" || objects[1].GetName() != "b" {
		t.Errorf("%v %v", objects, err)
	}
	if _, err := parseObjects([]byte("kind: [broken")); err == nil {
		t.Error("broken YAML was taken")
	}
}

func TestKindsOfTheAnnotationAreReadBack(t *testing.T) {
	for text, kind := range map[string]string{"/v1, Kind=ServiceAccount": "/v1, Kind=ServiceAccount", "apps/v1, Kind=Deployment": "apps/v1, Kind=Deployment"} {
		if got, ok := parseGVK(text); !ok || got.String() != kind {
			t.Errorf("%s: %v", text, got)
		}
	}
	if got := union("a;b", "b;c"); got != "a;b;c" {
		t.Errorf("%s", got)
	}
	if filepath.Ext("x.yaml.skip") != ".skip" {
		t.Error("skip files would be applied")
	}
}
