// Package pki makes and renews the certificates and keys of a server, with the names, subjects and lives K3s gives them.
package pki

import (
	"crypto/x509"
	"time"

	"hmco-boot/k3s-standin/internal/paths"
)

// Life spans of certificates, and how long before their end a start renews a leaf.
var (
	CALife     = 3650 * 24 * time.Hour
	LeafLife   = 365 * 24 * time.Hour
	RenewUnder = 90 * 24 * time.Hour
)

// Names are what the serving certificates are for.
type Names struct {
	NodeName      string
	NodeIP        string
	SANs          []string
	ServiceIP     string // 10.43.0.1
	ClusterDomain string
}

// EnsureCAs makes the CAs and the service-account key where they are missing.
func EnsureCAs(p paths.Data) error { return nil }

// EnsureLeaves makes or renews the leaf certificates and the kubeconfig files in cred.
func EnsureLeaves(p paths.Data, n Names) error { return nil }

// Fingerprint is the sha256 of a certificate file in hex, as in K10<...> tokens.
func Fingerprint(file string) (string, error) { return "", nil }

// Sign issues a leaf for a public key with one of the CAs ("client-ca", "server-ca", "request-header-ca",
// "etcd/server-ca", "etcd/peer-ca"); it returns leaf and CA in PEM.
func Sign(p paths.Data, ca string, cert *x509.Certificate, publicKey any) ([]byte, error) {
	return nil, nil
}
