package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"os"
	"time"

	"hmco-boot/k3s-standin/internal/faults"
	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
	"hmco-boot/k3s-standin/internal/pki"
	"hmco-boot/k3s-standin/internal/supervisor"
)

// clusterConfig is what a server tells its nodes about the cluster.
type clusterConfig struct {
	ClusterCIDR, ServiceCIDR, ClusterDNS, ClusterDomain, FlannelBackend string
}

// How long an agent waits between its attempts.
const (
	caRetry     = 2 * time.Second
	configRetry = 5 * time.Second // and up to twice that
)

var errPassword = errors.New("Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' may not match " +
	"server node-passwd entry, try enabling a unique node name with the --with-node-id flag")

// joiner fetches configuration and certificates from the servers.
type joiner struct {
	server   string // where the calls go: the balancer on agents
	token    string
	paths    paths.Data
	node, ip string
	password string
	client   *supervisor.Client
	http     *http.Client
}

// join tries until the node has everything it needs to run.
func (j *joiner) join(ctx context.Context) (clusterConfig, error) {
	for {
		err := j.connect(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return clusterConfig{}, ctx.Err()
		}
		logx.Errorf("%v", err)
		if sleep(ctx, caRetry) != nil {
			return clusterConfig{}, ctx.Err()
		}
	}
	for {
		config, err := j.retrieve(ctx)
		if err == nil {
			return config, nil
		}
		logx.Infof("Waiting to retrieve agent configuration; server is not ready: %v", err)
		wait := configRetry + time.Duration(rand.Int63n(int64(configRetry)))
		if sleep(ctx, wait) != nil {
			if errors.Is(err, errPassword) { // as K3s, which asks once more here
				logx.Infof("Waiting to retrieve agent configuration; server is not ready: %v", err)
			}
			return clusterConfig{}, &retrieveError{err}
		}
	}
}

// retrieveError is what ends an agent that is stopped while it waits for its configuration.
type retrieveError struct{ err error }

func (e *retrieveError) Error() string {
	return "failed to retrieve agent configuration: " + e.err.Error()
}
func (e *retrieveError) Unwrap() error { return e.err }

func sleep(ctx context.Context, length time.Duration) error {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// connect fetches the CA. A node that has joined shows its own certificate
// from then on: the token is only for those who have none.
func (j *joiner) connect(ctx context.Context) error {
	if err := faults.AtContext(ctx, "agent.connect"); err != nil {
		return err
	}
	client, err := supervisor.Connect(ctx, j.server, j.token, "node", true)
	if err != nil {
		return err
	}
	j.client = client
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(client.CA)
	config := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	if own, err := tls.LoadX509KeyPair(j.paths.Agent("client-kubelet.crt"), j.paths.Agent("client-kubelet.key")); err == nil && valid(own) {
		config.Certificates = []tls.Certificate{own}
	}
	j.http = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	return nil
}

// valid says whether the node's certificate has not expired; a server can tell the rest.
func valid(own tls.Certificate) bool {
	leaf, err := x509.ParseCertificate(own.Certificate[0])
	return err == nil && time.Now().Before(leaf.NotAfter)
}

// get makes one call: with the node's certificate first, then with the token.
func (j *joiner) get(ctx context.Context, path string) ([]byte, int, error) {
	if len(j.http.Transport.(*http.Transport).TLSClientConfig.Certificates) > 0 {
		if data, code, err := j.call(ctx, path, false); err != nil || !unknown(data, code) {
			return data, code, err
		}
	}
	return j.call(ctx, path, true)
}

// unknown says that the server does not take the certificate (another cluster's, or expired).
func unknown(data []byte, code int) bool {
	return code == http.StatusUnauthorized || code == http.StatusForbidden && text(data, code) == "forbidden"
}

func (j *joiner) call(ctx context.Context, path string, token bool) ([]byte, int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, j.server+path, nil)
	if err != nil {
		return nil, 0, err
	}
	request.Header.Set(headerName, j.node)
	request.Header.Set(headerPassword, j.password)
	request.Header.Set(headerIP, j.ip)
	client := j.http
	if token {
		request.SetBasicAuth("node", j.client.Token.Password)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	return data, response.StatusCode, err
}

// text is an answer's own words.
func text(data []byte, code int) string {
	var status struct{ Message string }
	if json.Unmarshal(data, &status) == nil && status.Message != "" {
		return status.Message
	}
	return fmt.Sprintf("%d %s", code, http.StatusText(code))
}

// retrieve fetches everything once.
func (j *joiner) retrieve(ctx context.Context) (clusterConfig, error) {
	var config clusterConfig
	if err := faults.AtContext(ctx, "agent.config"); err != nil {
		return config, err
	}
	data, code, err := j.get(ctx, pathConfig)
	switch {
	case err != nil:
		return config, fmt.Errorf("failed to retrieve configuration from server: %w", err)
	case code != http.StatusOK:
		return config, fmt.Errorf("failed to retrieve configuration from server: %s", text(data, code))
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return config, fmt.Errorf("failed to retrieve configuration from server: %w", err)
	}
	for _, ca := range []string{"server-ca", "client-ca"} {
		data, code, err := j.get(ctx, "/v1-k3s/"+ca+".crt")
		if err == nil && code != http.StatusOK {
			err = errors.New(text(data, code))
		}
		if err == nil {
			err = pki.WriteFile(j.paths.Agent(ca+".crt"), data, 0o600)
		}
		if err != nil {
			return config, fmt.Errorf("%s: %w", j.paths.Agent(ca+".crt"), err)
		}
	}
	for _, kind := range []string{"serving-kubelet", "client-kubelet", "client-kube-proxy", "client-k3s-controller"} {
		if err := j.certificate(ctx, kind); err != nil {
			return config, fmt.Errorf("%s: %w", j.paths.Agent(kind+".crt"), err)
		}
	}
	return config, nil
}

// certificate fetches one certificate and its key.
func (j *joiner) certificate(ctx context.Context, kind string) error {
	data, code, err := j.get(ctx, "/v1-k3s/"+kind+".crt")
	switch {
	case err != nil:
		return err
	case code == http.StatusForbidden:
		return errPassword
	case code != http.StatusOK:
		return errors.New(text(data, code))
	}
	var chain, key []byte
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type == "CERTIFICATE" {
			chain = append(chain, pem.EncodeToMemory(block)...)
		} else {
			key = append(key, pem.EncodeToMemory(block)...)
		}
	}
	if err := pki.WriteFile(j.paths.Agent(kind+".key"), key, 0o600); err != nil {
		return err
	}
	return pki.WriteFile(j.paths.Agent(kind+".crt"), chain, 0o600)
}

// servers asks for the addresses of all apiservers.
func (j *joiner) servers(ctx context.Context) ([]string, error) {
	data, code, err := j.get(ctx, pathServers)
	if err != nil {
		return nil, err
	}
	if code != http.StatusOK {
		return nil, errors.New(text(data, code))
	}
	var list []string
	return list, json.Unmarshal(data, &list)
}

// reload reads the certificate that was fetched last.
func (j *joiner) reload() error {
	own, err := tls.LoadX509KeyPair(j.paths.Agent("client-kubelet.crt"), j.paths.Agent("client-kubelet.key"))
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(j.paths.Agent("server-ca.crt"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	j.http = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{own}},
		DisableKeepAlives: true,
	}}
	return nil
}
