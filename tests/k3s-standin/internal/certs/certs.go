// Package certs is `k3s certificate`: which files belong to which service, what `check` says about them, what `rotate`
// takes away so that the next start makes it anew, and `rotate-ca`. It makes no certificates.
package certs

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"hmco-boot/k3s-standin/internal/paths"
	"hmco-boot/k3s-standin/internal/pki"
)

// service is one name that --service takes.
type service struct {
	name  string
	agent bool // has files on agents
	files func(p paths.Data) []string
}

func inTLS(names ...string) func(paths.Data) []string {
	return func(p paths.Data) []string {
		var out []string
		for _, name := range names {
			out = append(out, p.TLS(filepath.FromSlash(name)))
		}
		return out
	}
}

func inAgent(names ...string) func(paths.Data) []string {
	return func(p paths.Data) []string {
		var out []string
		for _, name := range names {
			out = append(out, p.Agent(name))
		}
		return out
	}
}

// services are in a fixed order; the real one takes them as its map gives them.
var services = []service{
	{name: "admin", files: inTLS("client-admin.crt")},
	{name: "api-server", files: inTLS("client-kube-apiserver.crt", "serving-kube-apiserver.crt")},
	{name: "auth-proxy", files: inTLS("client-auth-proxy.crt")},
	{name: "cloud-controller", files: inTLS("client-k3s-cloud-controller.crt")},
	{name: "controller-manager", files: inTLS("client-controller.crt")},
	{name: "etcd", files: inTLS("etcd/client.crt", "etcd/server-client.crt", "etcd/peer-server-client.crt")},
	{name: "k3s-controller", agent: true, files: inAgent("client-k3s-controller.crt")},
	{name: "kube-proxy", agent: true, files: inAgent("client-kube-proxy.crt")},
	{name: "kubelet", agent: true, files: inAgent("client-kubelet.crt", "serving-kubelet.crt")},
	{name: "scheduler", files: inTLS("client-scheduler.crt")},
	{name: "supervisor", files: inTLS("client-supervisor.crt")},
}

// serverOnly are services without files of their own to check; rotate accepts them.
var serverOnly = []string{"k3s-server"}

// chosen returns the services of the names given, or all there are on a server or an agent.
func chosen(names []string, server bool) ([]service, error) {
	if len(names) == 0 {
		var all []service
		for _, one := range services {
			if server || one.agent {
				all = append(all, one)
			}
		}
		return all, nil
	}
	var out []service
	for _, name := range names {
		found := false
		for _, one := range services {
			if one.name == name {
				out, found = append(out, one), true
			}
		}
		for _, other := range serverOnly {
			found = found || other == name
		}
		if !found {
			return nil, fmt.Errorf("service %s is not recognized", name)
		}
	}
	return out, nil
}

// entry is what is said about one certificate.
type entry struct {
	file    string
	subject string
	status  string // for the table
	level   string // of the log line
	said    string // of the log line, behind "certificate SUBJECT "
	expires time.Time
}

func judge(file string, cert *x509.Certificate, now time.Time) entry {
	out := entry{file: file, subject: cert.Subject.String(), expires: cert.NotAfter}
	when := cert.NotAfter.UTC().Format(time.RFC3339)
	days := int(pki.RenewUnder.Hours() / 24)
	switch {
	case now.Before(cert.NotBefore):
		out.status, out.level = "NOT VALID YET", "error"
		out.said = "is not valid before " + cert.NotBefore.UTC().Format(time.RFC3339)
	case now.After(cert.NotAfter):
		out.status, out.level, out.said = "EXPIRED", "error", "expired at "+when
	case now.Add(pki.RenewUnder).After(cert.NotAfter):
		out.status, out.level, out.said = "WARNING", "warning", fmt.Sprintf("will expire within %d days at %s", days, when)
	default:
		out.status, out.level, out.said = "OK", "info", "is ok, expires at "+when
	}
	return out
}

// inspect judges every certificate of a file: the leaf and its CA.
func inspect(file string, now time.Time) ([]entry, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out []entry
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return out, nil
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, judge(file, cert, now))
	}
}

// leafFiles are the certificate and key files that a rotation of services takes away. On a server the keys of the agent's
// certificates lie twice.
func leafFiles(p paths.Data, list []service) []string {
	var out []string
	for _, one := range list {
		for _, cert := range one.files(p) {
			key := strings.TrimSuffix(cert, ".crt") + ".key"
			out = append(out, cert, key)
			if one.agent {
				out = append(out, p.TLS(filepath.Base(key)))
			}
		}
	}
	sort.Strings(out)
	return out
}
