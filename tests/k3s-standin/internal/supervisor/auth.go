package supervisor

import (
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"

	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
)

// Auth is who may make a call.
type Auth int

// The kinds of callers: anyone; a joined node or one of the tokens; the server token (basic auth `server:PASSWORD`);
// the node token (`node:PASSWORD`) or a node's client certificate; anyone on loopback, or the server token.
const (
	Anyone Auth = iota
	NodeOrServer
	ServerToken
	NodeToken
	LocalOrServer
)

// The groups in cred/passwd.
const (
	groupServer = "k3s:server"
	groupAgent  = "k3s:agent"
	groupNodes  = "system:nodes"
)

type user struct {
	password, name string
	groups         []string
}

type certAuth struct {
	once  sync.Once
	roots *x509.CertPool
	file  string
}

// LoadUsers reads cred/passwd; the users of a run do not change until the next start. clientCA is the CA of nodes'
// certificates.
func (s *Supervisor) LoadUsers(p paths.Data) error {
	data, err := os.ReadFile(p.Passwd())
	if err != nil {
		return err
	}
	s.users = nil
	for _, line := range strings.Split(string(data), "\n") {
		f := strings.Split(strings.TrimSpace(line), ",")
		if len(f) >= 4 {
			s.users = append(s.users, user{password: f[0], name: f[1], groups: f[3:]})
		}
	}
	s.auth.file = p.TLS("client-ca.crt")
	return nil
}

var errWrongPassword = errors.New("invalid username/password combination")

// who finds the caller's groups; no credentials are no groups.
func (s *Supervisor) who(r *http.Request) ([]string, error) {
	if name, password, ok := r.BasicAuth(); ok {
		for _, u := range s.users {
			if u.name == name && subtle.ConstantTimeCompare([]byte(u.password), []byte(password)) == 1 {
				return u.groups, nil
			}
		}
		return nil, errWrongPassword
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		cert := r.TLS.PeerCertificates[0]
		s.auth.once.Do(func() {
			s.auth.roots = x509.NewCertPool()
			if data, err := os.ReadFile(s.auth.file); err == nil {
				s.auth.roots.AppendCertsFromPEM(data)
			}
		})
		_, err := cert.Verify(x509.VerifyOptions{Roots: s.auth.roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		if err != nil {
			return nil, err
		}
		return cert.Subject.Organization, nil
	}
	return nil, nil
}

func (s *Supervisor) allowed(auth Auth, w http.ResponseWriter, r *http.Request) bool {
	if auth == Anyone || auth == LocalOrServer && local(r) {
		return true
	}
	groups, err := s.who(r)
	if err != nil {
		logx.Errorf("Failed to authenticate request from %s: %v", r.RemoteAddr, err)
		SendError(errors.New("not authorized"), w, r, http.StatusUnauthorized)
		return false
	}
	var want []string
	switch auth {
	case ServerToken, LocalOrServer:
		want = []string{groupServer}
	case NodeToken:
		want = []string{groupAgent, groupNodes}
	case NodeOrServer:
		want = []string{groupAgent, groupNodes, groupServer}
	}
	for _, g := range groups {
		if slices.Contains(want, g) {
			return true
		}
	}
	SendError(errors.New("forbidden"), w, r, http.StatusForbidden)
	return false
}

func local(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	return err == nil && net.ParseIP(host).IsLoopback()
}
