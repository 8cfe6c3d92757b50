package deploy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hmco-boot/k3s-standin/internal/pki"
	"hmco-boot/k3s-standin/internal/supervisor"
)

//go:embed manifests/*.yaml
var packaged embed.FS

// Packaged are the names of the AddOns that come with the program; servicelb has no manifest.
var Packaged = []string{"ccm", "coredns", "local-storage", "metrics-server", "rolebindings", "runtimes", "traefik"}

// disabled says whether the AddOn is switched off: by its name in `disable`, or with what it belongs to.
func disabled(d supervisor.Deps, name string) bool {
	c := d.Config
	return slices.Contains(c.Disable, name) ||
		name == "ccm" && c.DisableCCM && slices.Contains(c.Disable, "servicelb") ||
		name == "traefik" && c.DisableHelmController
}

func stage(d supervisor.Deps) error {
	if err := os.MkdirAll(d.Paths.Manifests(), 0o700); err != nil {
		return err
	}
	if err := os.MkdirAll(d.Paths.Server("static", "charts"), 0o700); err != nil {
		return err
	}
	if err := stageCharts(d.Paths.Server("static", "charts")); err != nil {
		return err
	}
	storage := d.Config.DefaultLocalStorage
	if storage == "" {
		storage = d.Paths.Dir + "/storage"
	}
	values := strings.NewReplacer(
		"%{CLUSTER_DNS}%", d.Config.ClusterDNS,
		"%{CLUSTER_DOMAIN}%", d.Config.ClusterDomain,
		"%{DEFAULT_LOCAL_STORAGE_PATH}%", storage,
		"%{SYSTEM_DEFAULT_REGISTRY_RAW}%", "",
	)
	for _, name := range Packaged {
		file := d.Paths.Manifests(name + ".yaml")
		if disabled(d, name) {
			if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			continue
		}
		if _, err := os.Stat(file + ".skip"); err == nil {
			continue
		}
		text, err := packaged.ReadFile("manifests/" + name + ".yaml")
		if err != nil {
			return err
		}
		if err := pki.WriteFile(file, []byte(values.Replace(string(text))), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// charts are the charts K3s serves below /static/charts, whether Traefik is disabled or not.
var charts = []string{"traefik", "traefik-crd"}

const chartVersion = "34.2.1+up34.2.0"

// stageCharts writes archives of the charts' names that hold nothing but a Chart.yaml which says so: no chart is ever
// installed here.
func stageCharts(dir string) error {
	for _, name := range charts {
		file := filepath.Join(dir, name+"-"+chartVersion+".tgz")
		if _, err := os.Stat(file); err == nil {
			continue
		}
		text := fmt.Sprintf("apiVersion: v2\nname: %s\nversion: %s\ndescription: not the chart; the K3s stand-in installs none\n", name, chartVersion)
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		t := tar.NewWriter(z)
		if err := t.WriteHeader(&tar.Header{Name: name + "/Chart.yaml", Mode: 0o644, Size: int64(len(text))}); err != nil {
			return err
		}
		_, err := t.Write([]byte(text))
		if err := errors.Join(err, t.Close(), z.Close()); err != nil {
			return err
		}
		if err := pki.WriteFile(file, b.Bytes(), 0o600); err != nil {
			return err
		}
	}
	return nil
}
