package pki

import (
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"os"
	"slices"
	"time"

	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
)

// Names are what the serving certificates are for.
type Names struct {
	NodeName      string
	NodeIP        string
	SANs          []string
	ServiceIP     string // 10.43.0.1
	ClusterDomain string
}

// NamesOf takes the names from the configuration.
func NamesOf(c *config.Config) Names {
	return Names{
		NodeName: c.NodeName, NodeIP: c.NodeIP, SANs: c.TLSSAN,
		ServiceIP: config.NthAddress(c.ServiceCIDR, 1), ClusterDomain: c.ClusterDomain,
	}
}

// Listener are the names of the certificate on 6443, in the order K3s lists them.
func (n Names) Listener() []string {
	names := []string{
		"127.0.0.1", "::1", "localhost", n.NodeName, n.NodeIP, n.ServiceIP, "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc." + n.ClusterDomain,
	}
	for _, san := range n.SANs {
		if !slices.Contains(names, san) {
			names = append(names, san)
		}
	}
	return names
}

type leaf struct {
	file, ca, cn, org string
	server            bool
	sans              []string
}

func leaves(n Names) []leaf {
	api := n.Listener()
	etcd := []string{"127.0.0.1", "::1", "localhost", n.NodeName, n.NodeIP}
	return []leaf{
		{file: "client-admin", ca: "client-ca", cn: "system:admin", org: "system:masters"},
		{file: "client-supervisor", ca: "client-ca", cn: "system:k3s-supervisor", org: "system:masters"},
		{file: "client-controller", ca: "client-ca", cn: "system:kube-controller-manager"},
		{file: "client-scheduler", ca: "client-ca", cn: "system:kube-scheduler"},
		{file: "client-kube-apiserver", ca: "client-ca", cn: "system:apiserver", org: "system:masters"},
		{file: "client-k3s-cloud-controller", ca: "client-ca", cn: "k3s-cloud-controller-manager"},
		{file: "client-auth-proxy", ca: "request-header-ca", cn: "system:auth-proxy"},
		{file: "serving-kube-apiserver", ca: "server-ca", cn: "kube-apiserver", server: true, sans: api},
		{file: "etcd/client", ca: "etcd/server-ca", cn: "etcd-client"},
		{file: "etcd/server-client", ca: "etcd/server-ca", cn: "etcd-server", server: true, sans: etcd},
		{file: "etcd/peer-server-client", ca: "etcd/peer-ca", cn: "etcd-peer", server: true, sans: etcd},
	}
}

// nodeKeys are keys whose certificates the nodes ask for; a server only makes the keys.
var nodeKeys = []string{"client-kubelet", "client-kube-proxy", "client-k3s-controller", "serving-kubelet"}

// EnsureLeaves makes or renews the leaf certificates and the kubeconfig files in cred.
func EnsureLeaves(p paths.Data, n Names) error {
	for _, name := range nodeKeys {
		if _, err := EnsureKey(p.TLS(name + ".key")); err != nil {
			return err
		}
	}
	for _, l := range leaves(n) {
		if err := ensureLeaf(p, l); err != nil {
			return err
		}
	}
	return writeKubeconfigs(p)
}

func ensureLeaf(p paths.Data, l leaf) error {
	key, err := EnsureKey(p.TLS(l.file + ".key"))
	if err != nil {
		return err
	}
	if good(p, l, key) {
		return nil
	}
	tmpl := &x509.Certificate{Subject: subject(l.cn, l.org), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if l.server {
		tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	AddNames(tmpl, l.sans)
	chain, err := Sign(p, l.ca, tmpl, key.Public())
	if err != nil {
		return err
	}
	return WriteFile(p.TLS(l.file+".crt"), chain, 0o644)
}

// good says whether the certificate there is of this key and CA, for these names and long enough.
func good(p paths.Data, l leaf, key *ecdsa.PrivateKey) bool {
	have, err := Certificates(p.TLS(l.file + ".crt"))
	if err != nil {
		return false
	}
	cas, err := Certificates(p.TLS(l.ca + ".crt"))
	if err != nil {
		return false
	}
	c := have[0]
	public, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok || !public.Equal(key.Public()) || c.CheckSignatureFrom(cas[0]) != nil || NeedsRenewal(c) {
		return false
	}
	for _, name := range l.sans {
		if c.VerifyHostname(name) != nil {
			return false
		}
	}
	return true
}

// NeedsRenewal says whether a leaf ends so soon that a start renews it.
func NeedsRenewal(c *x509.Certificate) bool {
	life := c.NotAfter.Sub(now())
	return life < RenewUnder && life < LeafLife
}

func subject(cn, org string) pkix.Name {
	name := pkix.Name{CommonName: cn}
	if org != "" {
		name.Organization = []string{org}
	}
	return name
}

// AddNames sorts host names and addresses into a certificate.
func AddNames(c *x509.Certificate, names []string) {
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else if n != "" {
			c.DNSNames = append(c.DNSNames, n)
		}
	}
}

// announce prints the line that K3s prints for every certificate it signs.
func announce(der []byte, ca *x509.Certificate) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return
	}
	const form = "2006-01-02 15:04:05 -0700 MST"
	logx.Infof("certificate %s signed by %s: notBefore=%s notAfter=%s", c.Subject, ca.Subject,
		c.NotBefore.UTC().Format(form), c.NotAfter.UTC().Format(form))
}

// EnsureNodeCert issues a node's certificate for a public key: kind is "client-kubelet", "serving-kubelet",
// "client-kube-proxy" or "client-k3s-controller". It returns leaf and CA in PEM.
func EnsureNodeCert(p paths.Data, kind, node string, addresses []string, publicKey any) ([]byte, error) {
	tmpl := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	ca := "client-ca"
	switch kind {
	case "client-kubelet":
		tmpl.Subject = subject("system:node:"+node, "system:nodes")
	case "client-kube-proxy":
		tmpl.Subject = subject("system:kube-proxy", "")
	case "client-k3s-controller":
		tmpl.Subject = subject("system:k3s-controller", "")
	case "serving-kubelet":
		ca = "server-ca"
		tmpl.Subject = subject(node, "")
		tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		AddNames(tmpl, append([]string{node, "localhost", "127.0.0.1", "::1"}, addresses...))
	default:
		return nil, os.ErrInvalid
	}
	return Sign(p, ca, tmpl, publicKey)
}

// ListenerCert makes the certificate on 6443 (CN=k3s,O=k3s).
func ListenerCert(p paths.Data, names []string, publicKey any) ([]byte, error) {
	tmpl := &x509.Certificate{Subject: subject("k3s", "k3s"), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	AddNames(tmpl, names)
	return Sign(p, "server-ca", tmpl, publicKey)
}

// Expires is when a certificate file's leaf ends.
func Expires(file string) (time.Time, error) {
	certs, err := Certificates(file)
	if err != nil {
		return time.Time{}, err
	}
	return certs[0].NotAfter, nil
}
