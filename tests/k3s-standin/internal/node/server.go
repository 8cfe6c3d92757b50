package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"hmco-boot/k3s-standin/internal/faults"
	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
	"hmco-boot/k3s-standin/internal/pki"
	"hmco-boot/k3s-standin/internal/supervisor"
)

// The calls with which nodes join, and the headers by which a node names itself.
const (
	pathConfig     = "/v1-k3s/config"
	pathServers    = "/v1-k3s/apiservers"
	pathConnect    = "/v1-k3s/connect"
	headerName     = "K3s-Node-Name"
	headerPassword = "K3s-Node-Password"
	headerIP       = "K3s-Node-IP"
)

var errNotReady = errors.New("runtime core not ready")

// server answers the calls of nodes.
type server struct {
	d supervisor.Deps
}

// Register adds the calls with which nodes join: configuration, certificates, addresses of apiservers, tunnel.
func Register(s *supervisor.Supervisor, d supervisor.Deps) {
	n := &server{d}
	s.Handle(pathConfig, supervisor.NodeToken, http.HandlerFunc(n.config))
	for _, ca := range []string{"server-ca", "client-ca"} {
		file := d.Paths.TLS(ca + ".crt")
		s.Handle("/v1-k3s/"+ca+".crt", supervisor.NodeToken, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.ServeFile(w, r, file)
		}))
	}
	for _, kind := range []string{"serving-kubelet", "client-kubelet", "client-kube-proxy", "client-k3s-controller"} {
		s.Handle("/v1-k3s/"+kind+".crt", supervisor.NodeToken, n.certificate(kind))
	}
	s.Handle(pathServers, supervisor.NodeToken, http.HandlerFunc(n.servers))
	s.Handle(pathConnect, supervisor.NodeToken, http.HandlerFunc(n.tunnel))
}

func (n *server) config(w http.ResponseWriter, r *http.Request) {
	if err := faults.AtContext(r.Context(), "join.agent"); err != nil {
		supervisor.SendError(err, w, r, http.StatusServiceUnavailable)
		return
	}
	c := n.d.Config
	supervisor.WriteJSON(w, clusterConfig{
		ClusterCIDR: c.ClusterCIDR, ServiceCIDR: c.ServiceCIDR, ClusterDNS: c.ClusterDNS, ClusterDomain: c.ClusterDomain,
		FlannelBackend: c.FlannelBackend,
	})
}

// client is an administrator's client, or nil as long as the apiserver is not ready.
func (n *server) client() kubernetes.Interface {
	select {
	case <-n.d.Ready:
	default:
		return nil
	}
	config, err := n.d.Admin()
	if err != nil || config == nil {
		return nil
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil
	}
	return client
}

// certificate signs a node's certificate once its password has been verified.
func (n *server) certificate(kind string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		node, code, err := n.verify(r)
		if err != nil {
			supervisor.SendError(err, w, r, code)
			return
		}
		var addresses []string
		if ip, err := netip.ParseAddr(r.Header.Get(headerIP)); err == nil {
			addresses = append(addresses, ip.String())
		}
		file := n.d.Paths.TLS(kind + ".key")
		key, err := pki.EnsureKey(file)
		if err == nil {
			var chain, private []byte
			chain, err = pki.EnsureNodeCert(n.d.Paths, kind, node, addresses, key.Public())
			if err == nil {
				private, err = os.ReadFile(file)
			}
			if err == nil {
				_, _ = w.Write(append(chain, private...))
				return
			}
		}
		supervisor.SendError(err, w, r, http.StatusInternalServerError)
	})
}

// verify checks the node's name and password.
func (n *server) verify(r *http.Request) (node string, code int, err error) {
	node, password := r.Header.Get(headerName), r.Header.Get(headerPassword)
	if node == "" || password == "" {
		return "", http.StatusBadRequest, errors.New("node name or node password not set")
	}
	if node == n.d.Config.NodeName {
		if own, err := os.ReadFile(paths.NodePassword); err == nil && strings.TrimSpace(string(own)) == password {
			if strings.HasSuffix(r.URL.Path, "/serving-kubelet.crt") {
				logx.Infof("Password verified locally for node %s", node)
			}
			return node, http.StatusOK, nil
		}
	}
	client := n.client()
	if client == nil {
		return "", http.StatusServiceUnavailable, errNotReady
	}
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	err = ensurePassword(ctx, client, node, password, false)
	switch {
	case errors.Is(err, errHash):
		return "", http.StatusForbidden, fmt.Errorf("unable to verify password for node %s: %w", node, err)
	case err != nil:
		return "", http.StatusServiceUnavailable, err
	}
	return node, http.StatusOK, nil
}

// servers answers with the addresses of all apiservers: those behind the Service kubernetes.
func (n *server) servers(w http.ResponseWriter, r *http.Request) {
	list := []string{}
	if client := n.client(); client != nil {
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		defer cancel()
		endpoints, err := client.CoreV1().Endpoints(metav1.NamespaceDefault).Get(ctx, "kubernetes", metav1.GetOptions{})
		if err != nil {
			supervisor.SendError(err, w, r, http.StatusServiceUnavailable)
			return
		}
		for _, subset := range endpoints.Subsets {
			for _, address := range subset.Addresses {
				list = append(list, join(address.IP, n.d.Config.HTTPSListenPort))
			}
		}
	}
	if len(list) == 0 {
		supervisor.SendError(errNotReady, w, r, http.StatusServiceUnavailable)
		return
	}
	supervisor.WriteJSON(w, list)
}

func join(host string, port int) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(port)
}
