package integration

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// refused are the objects that a real apiserver refuses too: as shipped, the ServiceAccounts of these bindings have no
// namespace.
var refused = []string{
	`Error from server (Invalid): ClusterRoleBinding.rbac.authorization.k8s.io "system-upgrade" is invalid: subjects[0].namespace: Required value`,
	`Error from server (Invalid): ClusterRoleBinding.rbac.authorization.k8s.io "system-upgrade-drainer" is invalid: subjects[0].namespace: Required value`,
}

// TestUpstreamManifestsApply applies the manifests of real projects (HMCO_MIRROR names their folder) by plain kubectl:
// definitions first, and the versions of one component one after the other. What is refused is what has to be.
func TestUpstreamManifestsApply(t *testing.T) {
	mirror := os.Getenv("HMCO_MIRROR")
	if mirror == "" {
		t.Skip("SKIPPED: HMCO_MIRROR does not name the folder of upstream manifests")
	}
	m := start(t)
	for _, namespace := range []string{"argocd", "cert-manager", "falco", "longhorn-system", "metallb-system", "monitoring", "velero", "trivy-system", "traefik", "system-upgrade"} {
		m.kubectl("create", "namespace", namespace)
	}
	var complaints []string
	files := manifests(t, mirror)
	for _, file := range files {
		// Where an object belongs to no namespace of its own, its chart's is meant.
		name, _ := filepath.Rel(mirror, file)
		out, err := m.try("apply", "--server-side", "--force-conflicts", "-f", file)
		if err == nil {
			continue
		}
		for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
			switch {
			case strings.HasSuffix(line, "serverside-applied") || strings.HasPrefix(line, "Warning:"):
			default:
				complaints = append(complaints, line)
				t.Logf("%s: %s", name, line)
			}
		}
	}
	t.Logf("%d files, %d complaints", len(files), len(complaints))
	slices.Sort(complaints)
	if !slices.Equal(complaints, refused) {
		t.Errorf("refused:\n%s\nwanted:\n%s", strings.Join(complaints, "\n"), strings.Join(refused, "\n"))
	}
}

// manifests lists the files: those with definitions first, then by component and version.
func manifests(t *testing.T, mirror string) []string {
	t.Helper()
	var definitions, others []string
	err := filepath.WalkDir(mirror, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".yaml") && !strings.HasSuffix(name, ".yml") {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if strings.Contains(string(data), "kind: CustomResourceDefinition") {
			definitions = append(definitions, name)
		} else {
			others = append(others, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(definitions)
	slices.Sort(others)
	return append(definitions, others...)
}
