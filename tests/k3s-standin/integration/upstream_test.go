package integration

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// refused are the objects that a real apiserver refuses too: their subjects[0].namespace is missing as shipped.
var refused = map[string]int{"system-upgrade-controller": 2}

// TestUpstreamManifestsApply applies the manifests of real projects (HMCO_MIRROR names their folder) by plain kubectl,
// CustomResourceDefinitions first, and several versions of one component one after the other.
func TestUpstreamManifestsApply(t *testing.T) {
	mirror := os.Getenv("HMCO_MIRROR")
	if mirror == "" {
		t.Skip("SKIPPED: HMCO_MIRROR does not name the folder of upstream manifests")
	}
	m := start(t)
	for _, namespace := range []string{"argocd", "cert-manager", "falco", "longhorn-system", "metallb-system", "monitoring", "velero", "trivy-system", "traefik", "system-upgrade"} {
		m.kubectl("create", "namespace", namespace)
	}
	for _, file := range manifests(t, mirror) {
		component := strings.Split(strings.TrimPrefix(file, mirror+"/"), "/")[0]
		out, err := m.try("apply", "--server-side", "--force-conflicts", "-f", file)
		failed := strings.Count(out, "is invalid") + strings.Count(out, "Error from server") + strings.Count(out, "no matches for kind")
		switch {
		case err == nil:
		case refused[component] > 0 && failed <= 2*refused[component] && strings.Contains(out, "subjects[0].namespace"):
			t.Logf("%s: refused, as a real apiserver does", strings.TrimPrefix(file, mirror+"/"))
		default:
			t.Errorf("%s: %v\n%s", strings.TrimPrefix(file, mirror+"/"), err, tail(out))
		}
	}
}

// manifests lists the files: those with definitions first, then by name.
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

func tail(text string) string { return text[max(0, len(text)-1500):] }
