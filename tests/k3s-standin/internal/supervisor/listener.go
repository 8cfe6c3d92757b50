package supervisor

import (
	"crypto/sha1" //nolint:gosec // the fingerprint's form
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"sort"
	"strings"

	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
	"hmco-boot/k3s-standin/internal/pki"
)

// listenerFile is the form of tls/dynamic-cert.json: a Secret with the certificate of 6443.
type listenerFile struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	Metadata   struct {
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Data map[string][]byte `json:"data"`
	Type string            `json:"type"`
}

// ListenerCertificate loads or makes the certificate of 6443 for the names, and prints K3s' lines about it. It returns
// the PEM of certificate and key too, for the Secret kube-system/k3s-serving.
func ListenerCertificate(p paths.Data, address string, names []string) (*tls.Certificate, map[string][]byte, error) {
	file := p.TLS("dynamic-cert.json")
	if os.Remove(p.TLS("dynamic-cert-regenerate")) == nil { // `k3s certificate rotate` wants a new one
		_ = os.Remove(file)
	}
	if f, err := readListener(file); err == nil && covers(p, f.Data["tls.crt"], names) {
		if c, err := tls.X509KeyPair(f.Data["tls.crt"], f.Data["tls.key"]); err == nil {
			logActive(names, &c)
			return &c, f.Data, nil
		}
	}
	key, keyPEM, err := pki.NewKey()
	if err != nil {
		return nil, nil, err
	}
	chain, err := pki.ListenerCert(p, names, key.Public())
	if err != nil {
		return nil, nil, err
	}
	c, err := tls.X509KeyPair(chain, keyPEM)
	if err != nil {
		return nil, nil, err
	}
	logx.Warnf("dynamiclistener %s: no cached certificate available for preload - deferring certificate load until storage initialization or first client request", address)
	logActive(names, &c)
	f := listenerFile{Kind: "Secret", APIVersion: "v1", Type: "kubernetes.io/tls", Data: map[string][]byte{"tls.crt": chain, "tls.key": keyPEM}}
	f.Metadata.Annotations = annotations(names, &c)
	data, err := json.Marshal(f)
	if err != nil {
		return nil, nil, err
	}
	return &c, f.Data, pki.WriteFile(file, append(data, '\n'), 0o644)
}

func readListener(file string) (*listenerFile, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	f := &listenerFile{}
	return f, json.Unmarshal(data, f)
}

func covers(p paths.Data, chain []byte, names []string) bool {
	leaf, err := pki.Leaf(chain)
	if err != nil {
		return false
	}
	ca, err := pki.Certificates(p.TLS("server-ca.crt"))
	if err != nil || leaf.CheckSignatureFrom(ca[0]) != nil || pki.NeedsRenewal(leaf) {
		return false
	}
	for _, n := range names {
		if leaf.VerifyHostname(n) != nil {
			return false
		}
	}
	return true
}

func annotations(names []string, c *tls.Certificate) map[string]string {
	out := map[string]string{}
	for _, n := range names {
		out["listener.cattle.io/cn-"+nameKey(n)] = n
	}
	sum := sha1.Sum(c.Certificate[0]) //nolint:gosec // the fingerprint's form
	out["listener.cattle.io/fingerprint"] = "SHA1=" + strings.ToUpper(hex.EncodeToString(sum[:]))
	return out
}

// nameKey makes a name fit for an annotation key: colons cannot stand there.
func nameKey(name string) string {
	if ip := net.ParseIP(name); ip != nil && ip.To4() == nil {
		sum := sha256.Sum256([]byte("listener.cattle.io/cn-" + name))
		return strings.ReplaceAll(name, ":", "_") + "-" + hex.EncodeToString(sum[:])[:6]
	}
	return name
}

func logActive(names []string, c *tls.Certificate) {
	m := annotations(names, c)
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	parts := make([]string, 0, len(m))
	for _, k := range keys {
		parts = append(parts, k+":"+m[k])
	}
	logx.Infof("Active TLS secret / (ver=) (count %d): map[%s]", len(names), fmt.Sprint(strings.Join(parts, " ")))
}
