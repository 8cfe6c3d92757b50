package deploy

import (
	"embed"
	"errors"
	"os"
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
