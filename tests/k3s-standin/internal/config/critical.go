package config

import (
	"slices"
	"strconv"
)

// Critical are the settings that must be the same on all servers, by flag name.
func (c *Config) Critical() map[string]string {
	b := strconv.FormatBool
	return map[string]string{
		"cluster-cidr":             c.ClusterCIDR,
		"cluster-dns":              c.ClusterDNS,
		"cluster-domain":           c.ClusterDomain,
		"disable-cloud-controller": b(c.DisableCCM),
		"disable-helm-controller":  b(c.DisableHelmController),
		"disable-network-policy":   b(c.DisableNetworkPolicy),
		"disable-servicelb":        b(slices.Contains(c.Disable, "servicelb")),
		"egress-selector-mode":     c.EgressSelectorMode,
		"embedded-registry":        b(c.EmbeddedRegistry),
		"flannel-backend":          c.FlannelBackend,
		"flannel-external-ip":      b(c.FlannelExternalIP),
		"flannel-ipv6-masq":        b(c.FlannelIPv6Masq),
		"secrets-encryption":       b(c.EncryptSecrets),
		"service-cidr":             c.ServiceCIDR,
	}
}

// Mismatches names the critical settings that differ, in alphabetical order; settings the other side does not name are
// left out.
func Mismatches(mine, theirs map[string]string) []string {
	var out []string
	for key, v := range mine {
		if other, ok := theirs[key]; ok && other != v {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}
