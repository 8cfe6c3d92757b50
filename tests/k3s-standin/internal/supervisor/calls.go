package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"hmco-boot/k3s-standin/internal/bootstrap"
	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/faults"
)

// errNotReady is the answer of calls that need the apiserver, until it is ready.
var errNotReady = errors.New("runtime core not ready")

// Base registers the calls every server answers, but for those of joining nodes (package node).
func (s *Supervisor) Base(d Deps) {
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
	s.Handle("/v1-k3s/server-config", ServerToken, jsonOf(func() any { return d.Config.Critical() }))
	shared := text(func() ([]byte, error) {
		r, err := bootstrap.Collect(d.Paths)
		if err != nil {
			return nil, err
		}
		return r.Encode()
	})
	s.Handle("/v1-k3s/server-bootstrap", ServerToken, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := faults.AtContext(r.Context(), "join.server"); err != nil {
			SendError(err, w, r, http.StatusServiceUnavailable)
			return
		}
		shared.ServeHTTP(w, r)
	}))
	s.Handle("/v1-k3s/readyz", NodeToken, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !closed(d.Ready) {
			SendError(errNotReady, w, r, http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok")
	}))
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

// Advertised is the address under which other machines reach this server.
func Advertised(c *config.Config) string {
	for _, a := range []string{c.AdvertiseAddr, c.NodeIP} {
		if a != "" {
			return a
		}
	}
	return "127.0.0.1"
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
