package supervisor

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sort"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"hmco-boot/k3s-standin/internal/bootstrap"
	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/pki"
)

// errNotReady is the answer of calls that need the apiserver, until it is ready.
var errNotReady = errors.New("runtime core not ready")

// AgentConfig is what GET /v1-k3s/config tells a node.
type AgentConfig struct {
	ClusterCIDR          string
	ServiceCIDR          string
	ClusterDNS           string
	ClusterDomain        string
	FlannelBackend       string
	EgressSelectorMode   string
	DisableNetworkPolicy bool
	DisableKubeProxy     bool
	ServerVersion        string
	LocalStoragePath     string
	DisableLocalStorage  bool
	DisableServiceLB     bool
	SupervisorPort       int
}

// Base registers the calls every server answers.
func (s *Supervisor) Base(d Deps, agent AgentConfig, pw *NodePasswords) {
	text := func(get func() ([]byte, error)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			data, err := get()
			if err != nil {
				SendError(err, w, r, http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = w.Write(data)
		})
	}
	file := func(name string) http.Handler { return text(func() ([]byte, error) { return os.ReadFile(name) }) }
	s.Handle("/ping", Anyone, text(func() ([]byte, error) { return []byte("pong"), nil }))
	s.Handle("/cacerts", Anyone, file(d.Paths.TLS("server-ca.crt")))
	s.Handle("/db/info", LocalOrServer, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { dbInfo(d, w, r) }))
	s.Handle("/v1-k3s/server-ca.crt", NodeToken, file(d.Paths.TLS("server-ca.crt")))
	s.Handle("/v1-k3s/client-ca.crt", NodeToken, file(d.Paths.TLS("client-ca.crt")))
	s.Handle("/v1-k3s/config", NodeToken, jsonOf(func() any { return agent }))
	s.Handle("/v1-k3s/server-config", ServerToken, jsonOf(func() any { return d.Config.Critical() }))
	s.Handle("/v1-k3s/server-bootstrap", ServerToken, text(func() ([]byte, error) {
		r, err := bootstrap.Collect(d.Paths)
		if err != nil {
			return nil, err
		}
		return r.Encode()
	}))
	s.Handle("/v1-k3s/readyz", NodeToken, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !closed(d.Ready) {
			SendError(errNotReady, w, r, http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok")
	}))
	s.Handle("/v1-k3s/apiservers", NodeToken, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { apiServers(d, w, r) }))
	for _, kind := range []string{"client-kubelet", "serving-kubelet", "client-kube-proxy", "client-k3s-controller"} {
		s.Handle("/v1-k3s/"+kind+".crt", NodeToken, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			nodeCert(d, pw, kind, w, r)
		}))
	}
	s.Handle("/static/", Anyone, http.StripPrefix("/static/", http.FileServer(http.Dir(d.Paths.Server("static")))))
}

func jsonOf(get func() any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { WriteJSON(w, get()) })
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// dbMember is a member as /db/info shows it.
type dbMember struct {
	ID         uint64   `json:"ID"`
	Name       string   `json:"name,omitempty"`
	PeerURLs   []string `json:"peerURLs,omitempty"`
	ClientURLs []string `json:"clientURLs,omitempty"`
	IsLearner  bool     `json:"isLearner,omitempty"`
}

func dbInfo(d Deps, w http.ResponseWriter, r *http.Request) {
	store := d.Store()
	if store == nil {
		SendError(errNotReady, w, r, http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	members, err := store.Members(ctx)
	if err != nil {
		SendError(fmt.Errorf("failed to get etcd MemberList: %w", err), w, r, http.StatusInternalServerError)
		return
	}
	out := struct {
		Members []dbMember `json:"members"`
	}{Members: []dbMember{}}
	for _, m := range members {
		out.Members = append(out.Members, dbMember{ID: m.ID, Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs, IsLearner: m.Learner})
	}
	WriteJSON(w, out)
}

// apiServers lists the addresses at which apiservers are known: this one first while the list cannot be read.
func apiServers(d Deps, w http.ResponseWriter, r *http.Request) {
	own := fmt.Sprintf("%s:%d", Advertised(d.Config), d.Config.HTTPSListenPort)
	list := []string{}
	if closed(d.Ready) {
		if admin, err := d.Admin(); err == nil {
			if c, err := kubernetes.NewForConfig(admin); err == nil {
				ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
				defer cancel()
				if ep, err := c.CoreV1().Endpoints("default").Get(ctx, "kubernetes", metav1.GetOptions{}); err == nil {
					for _, sub := range ep.Subsets {
						for _, a := range sub.Addresses {
							list = append(list, fmt.Sprintf("%s:%d", a.IP, d.Config.HTTPSListenPort))
						}
					}
				}
			}
		}
	}
	if len(list) == 0 {
		list = []string{own}
	}
	sort.Strings(list)
	WriteJSON(w, list)
}

// Advertised is the address under which other machines reach this server.
func Advertised(c *config.Config) string {
	for _, a := range []string{c.AdvertiseAddr, c.NodeIP} {
		if a != "" {
			return a
		}
	}
	return "127.0.0.1"
}

// nodeCert signs a node's request: POST with a PEM certificate request, headers k3s-Node-Name, k3s-Node-Password and
// k3s-Node-IP (comma-separated). The answer is leaf and CA.
func nodeCert(d Deps, pw *NodePasswords, kind string, w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		SendError(fmt.Errorf("method not allowed: %s", r.Method), w, r, http.StatusMethodNotAllowed)
		return
	}
	name, password := strings.ToLower(r.Header.Get("k3s-Node-Name")), r.Header.Get("k3s-Node-Password")
	if kind == "client-kubelet" || kind == "serving-kubelet" {
		if code, err := pw.Verify(r.Context(), name, password); err != nil {
			SendError(err, w, r, code)
			return
		}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
	if err != nil {
		SendError(err, w, r, http.StatusInternalServerError)
		return
	}
	block, _ := pem.Decode(body)
	if block == nil {
		SendError(errors.New("no certificate request in the body"), w, r, http.StatusBadRequest)
		return
	}
	req, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = req.CheckSignature()
	}
	if err != nil {
		SendError(err, w, r, http.StatusBadRequest)
		return
	}
	var addresses []string
	for _, a := range strings.Split(r.Header.Get("k3s-Node-IP"), ",") {
		if a = strings.TrimSpace(a); a != "" {
			addresses = append(addresses, a)
		}
	}
	chain, err := pki.EnsureNodeCert(d.Paths, kind, name, addresses, req.PublicKey)
	if err != nil {
		SendError(err, w, r, http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(chain)
}

// FetchBootstrap reads the shared files from a running server.
func (c *Client) FetchBootstrap(ctx context.Context) (bootstrap.Record, error) {
	data, err := c.Do(ctx, http.MethodGet, "/v1-k3s/server-bootstrap", nil, nil)
	if err != nil {
		return nil, err
	}
	return bootstrap.Decode(data)
}

// FetchCritical reads the critical settings of a running server.
func (c *Client) FetchCritical(ctx context.Context) (map[string]string, error) {
	data, err := c.Do(ctx, http.MethodGet, "/v1-k3s/server-config", nil, nil)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	return out, json.Unmarshal(data, &out)
}

// FetchMembers reads the etcd members of a running server.
func (c *Client) FetchMembers(ctx context.Context) (clientURLs []string, err error) {
	data, err := c.Do(ctx, http.MethodGet, "/db/info", nil, nil)
	if err != nil {
		return nil, err
	}
	var info struct {
		Members []dbMember `json:"members"`
	}
	if err := json.Unmarshal(data, &info); err != nil {
		return nil, err
	}
	for _, m := range info.Members {
		if !m.IsLearner {
			clientURLs = append(clientURLs, m.ClientURLs...)
		}
	}
	return clientURLs, nil
}
