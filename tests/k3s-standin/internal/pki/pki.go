// Package pki makes and renews the certificates and keys of a server, with the names, subjects and lives K3s gives them.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"time"

	"hmco-boot/k3s-standin/internal/faults"
	"hmco-boot/k3s-standin/internal/paths"
)

// Life spans of certificates, and how long before their end a start renews a leaf.
var (
	CALife     = 3650 * 24 * time.Hour
	LeafLife   = 365 * 24 * time.Hour
	RenewUnder = 90 * 24 * time.Hour
)

// now is the clock; tests and the clock fault replace it.
var now = time.Now

// SetClock replaces the clock by which certificates are made and judged.
func SetClock(f func() time.Time) { now = f }

// authority is one CA: its place below tls and the name that its subject starts with.
type authority struct{ name, subject string }

var authorities = []authority{
	{"client-ca", "k3s-client-ca"},
	{"server-ca", "k3s-server-ca"},
	{"request-header-ca", "k3s-request-header-ca"},
	{"etcd/server-ca", "etcd-server-ca"},
	{"etcd/peer-ca", "etcd-peer-ca"},
}

// EnsureCAs makes the CAs and the service-account key where they are missing.
func EnsureCAs(p paths.Data) error {
	if err := os.MkdirAll(p.TLS(), 0o700); err != nil {
		return err
	}
	if err := os.MkdirAll(p.TLS("etcd"), 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(p.TLS("temporary-certs"), 0o700); err != nil {
		return err
	}
	for _, a := range authorities {
		if err := ensureCA(p.TLS(a.name+".crt"), p.TLS(a.name+".key"), a.subject); err != nil {
			return err
		}
	}
	for _, name := range []string{"client-ca", "server-ca"} {
		if err := copyCert(p.TLS(name+".crt"), p.TLS(name+".nochain.crt")); err != nil {
			return err
		}
	}
	if err := ensureServiceKey(p.TLS("service.key")); err != nil {
		return err
	}
	if err := ensureLoopback(p); err != nil {
		return err
	}
	key, err := os.ReadFile(p.TLS("service.key"))
	if err != nil {
		return err
	}
	return WriteFile(p.TLS("service.current.key"), key, 0o600)
}

func ensureCA(certFile, keyFile, subject string) error {
	if exists(certFile) && exists(keyFile) {
		return nil
	}
	key, err := EnsureKey(keyFile)
	if err != nil {
		return err
	}
	t := now().UTC().Truncate(time.Second)
	id := sha1.Sum(elliptic.Marshal(elliptic.P256(), key.X, key.Y)) //nolint:staticcheck // the same bytes as x509's own key id
	tmpl := &x509.Certificate{
		SerialNumber:          big.NewInt(0),
		Subject:               pkix.Name{CommonName: fmt.Sprintf("%s@%d", subject, t.Unix())},
		NotBefore:             t,
		NotAfter:              t.Add(CALife),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		SubjectKeyId:          id[:],
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return err
	}
	return WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

func ensureServiceKey(file string) error {
	if exists(file) {
		return nil
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	return WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), 0o600)
}

// ensureLoopback makes the pair that K3s' apiserver leaves in its cert-dir; nothing here uses it.
func ensureLoopback(p paths.Data) error {
	file := p.TLS("temporary-certs", "apiserver-loopback-client__")
	if exists(file + ".crt") {
		return nil
	}
	if err := ensureServiceKey(file + ".key"); err != nil {
		return err
	}
	data, err := os.ReadFile(file + ".key")
	if err != nil {
		return err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return fmt.Errorf("%s.key: no private key found", file)
	}
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		return err
	}
	t := now().UTC().Truncate(time.Second)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(t.UnixNano()), Subject: pkix.Name{CommonName: fmt.Sprintf("apiserver-loopback-client@%d", t.Unix())},
		NotBefore: t.Add(-time.Hour), NotAfter: t.Add(LeafLife), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: []string{"apiserver-loopback-client"},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return err
	}
	return WriteFile(file+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

// EnsureKey reads an EC key, or makes it (0600) when there is none.
func EnsureKey(file string) (*ecdsa.PrivateKey, error) {
	data, err := os.ReadFile(file)
	if err == nil {
		return parseKey(file, data)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	key, text, err := NewKey()
	if err != nil {
		return nil, err
	}
	return key, WriteFile(file, text, 0o600)
}

// NewKey makes an EC key; text is its PEM.
func NewKey() (key *ecdsa.PrivateKey, text []byte, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

// Leaf is the first certificate of a PEM text.
func Leaf(chain []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(chain)
	if block == nil {
		return nil, errors.New("no certificate found")
	}
	return x509.ParseCertificate(block.Bytes)
}

func parseKey(file string, data []byte) (*ecdsa.PrivateKey, error) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "EC PRIVATE KEY" {
			return x509.ParseECPrivateKey(block.Bytes)
		}
		if block.Type == "PRIVATE KEY" {
			k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if ec, ok := k.(*ecdsa.PrivateKey); ok {
				return ec, nil
			}
			return nil, errors.Join(fmt.Errorf("%s: not an EC key", file), err)
		}
	}
	return nil, fmt.Errorf("%s: no private key found", file)
}

// Certificates reads all certificates of a PEM file.
func Certificates(file string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no certificate found", file)
	}
	return out, nil
}

// Fingerprint is the sha256 of a certificate file in hex, as in K10<...> tokens.
func Fingerprint(file string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// Sign issues a leaf for a public key with one of the CAs ("client-ca", "server-ca", "request-header-ca",
// "etcd/server-ca", "etcd/peer-ca"); it returns leaf and CA in PEM.
func Sign(p paths.Data, ca string, cert *x509.Certificate, publicKey crypto.PublicKey) ([]byte, error) {
	chain, err := Certificates(p.TLS(ca + ".crt"))
	if err != nil {
		return nil, err
	}
	caKey, err := EnsureKey(p.TLS(ca + ".key"))
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	cert.SerialNumber = serial
	cert.NotBefore = chain[0].NotBefore
	if cert.NotAfter.IsZero() {
		cert.NotAfter = now().UTC().Truncate(time.Second).Add(lifeOf(cert))
	}
	cert.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	der, err := x509.CreateCertificate(rand.Reader, cert, chain[0], publicKey, caKey)
	if err != nil {
		return nil, err
	}
	announce(der, chain[0])
	out := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for _, c := range chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out, nil
}

// lifeOf is how long a leaf lives. The fault certs shortens the lives of the administrator's and the nodes' certificates;
// the control plane's own ones are left alone, so that it goes on.
func lifeOf(cert *x509.Certificate) time.Duration {
	life, short := faults.CertLife()
	if short && (cert.Subject.CommonName == "system:admin" || slices.Contains(cert.Subject.Organization, "system:nodes")) {
		return life
	}
	return LeafLife
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func copyCert(from, to string) error {
	certs, err := Certificates(from)
	if err != nil {
		return err
	}
	return WriteFile(to, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certs[0].Raw}), 0o644)
}

// WriteFile writes a whole file so that a crash leaves the old or the new content; a file with the same content stays.
func WriteFile(file string, data []byte, mode os.FileMode) error {
	if old, err := os.ReadFile(file); err == nil && string(old) == string(data) {
		return os.Chmod(file, mode)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}
