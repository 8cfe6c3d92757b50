package faults

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// Handler answers API calls with the errors that the faults api ask for and
// hands all others to next. Calls of the control plane's own parts (a client
// certificate of system:*, but for the administrator's) are left alone unless
// the fault says who=all.
func Handler(next http.Handler) http.Handler {
	dice := newDice()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, f := range current.faults() {
			if f.kind == kindAPI && f.concerns(r) && dice.hits(&f) && current.take(&f) {
				f.answer(w)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func (f *fault) concerns(r *http.Request) bool {
	if f.verb != "" && f.verb != r.Method {
		return false
	}
	if !strings.HasPrefix(r.URL.Path, f.path) {
		return false
	}
	if f.path == "" && !strings.HasPrefix(r.URL.Path, "/api/") && !strings.HasPrefix(r.URL.Path, "/apis/") {
		return false
	}
	return f.everyone || !internal(r)
}

func internal(r *http.Request) bool {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return false
	}
	name := r.TLS.PeerCertificates[0].Subject.CommonName
	return strings.HasPrefix(name, "system:") && name != "system:admin"
}

func (f *fault) answer(w http.ResponseWriter) {
	if f.status == 0 {
		reset(w)
		return
	}
	if f.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(f.retryAfter))
	}
	reason := map[int]string{
		http.StatusTooManyRequests: "TooManyRequests", http.StatusInternalServerError: "InternalError",
		http.StatusServiceUnavailable: "ServiceUnavailable", http.StatusConflict: "Conflict", http.StatusForbidden: "Forbidden",
	}[f.status]
	body, err := json.Marshal(map[string]any{
		"kind": "Status", "apiVersion": "v1", "metadata": map[string]any{}, "status": "Failure",
		"message": fmt.Sprintf("the stand-in answers %d on demand", f.status), "reason": reason, "code": f.status,
	})
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.status)
	_, _ = w.Write(body)
}

// reset ends the connection without an answer: by a TCP reset where the
// connection can be had, else by a reset of the HTTP/2 stream.
func reset(w http.ResponseWriter) {
	if hijacker, ok := w.(http.Hijacker); ok {
		if conn, _, err := hijacker.Hijack(); err == nil {
			raw := conn
			if inner, ok := conn.(interface{ NetConn() net.Conn }); ok {
				raw = inner.NetConn()
			}
			if tcp, ok := raw.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			_ = raw.Close()
			return
		}
	}
	panic(http.ErrAbortHandler)
}

// dice decides which calls a fault with a share hits, from its seed, so that
// the same calls in the same order meet the same answers.
type dice struct {
	mu      sync.Mutex
	sources map[string]*rand.Rand
}

func newDice() *dice {
	return &dice{sources: map[string]*rand.Rand{}}
}

func (d *dice) hits(f *fault) bool {
	if f.share >= 1 {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	source := d.sources[f.raw]
	if source == nil {
		source = rand.New(rand.NewSource(f.seed))
		d.sources[f.raw] = source
	}
	return source.Float64() < f.share
}
