package kubelet

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	remotecommandconsts "k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/kubelet/pkg/cri/streaming/remotecommand"
)

const streamTimeout = 30 * time.Second

// serve answers on the kubelet's port until stop is called.
func (k *Kubelet) serve(failed chan<- error) (stop func(), err error) {
	listener, err := net.Listen("tcp", k.o.Listen)
	if err != nil {
		return nil, err
	}
	server := &http.Server{
		Handler: k.handler(), ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: streamTimeout,
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: k.o.ClientCA,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return k.o.Certificate() },
		},
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}, // exec needs HTTP/1.1's upgrade
	}
	go func() {
		if err := server.ServeTLS(listener, "", ""); err != nil && !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}()
	return func() { _ = server.Close() }, nil
}

func (k *Kubelet) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	mux.HandleFunc("GET /pods", k.servePods)
	mux.HandleFunc("GET /stats/summary", k.serveStats)
	mux.HandleFunc("GET /metrics", k.serveMetrics)
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", k.serveLogs)
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", k.serveExec)
	mux.HandleFunc("/attach/{namespace}/{pod}/{container}", k.serveAttach)
	mux.HandleFunc("/portForward/{namespace}/{pod}", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "simulated pod: no process runs in it, so nothing listens on its ports", http.StatusNotImplemented)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch code := admit(r); code {
		case http.StatusOK:
			mux.ServeHTTP(w, r)
		default:
			http.Error(w, http.StatusText(code), code)
		}
	})
}

// admit lets the apiserver and administrators in.
func admit(r *http.Request) int {
	if r.URL.Path == "/healthz" {
		return http.StatusOK
	}
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return http.StatusUnauthorized
	}
	subject := r.TLS.VerifiedChains[0][0].Subject
	if slices.Contains(subject.Organization, "system:masters") || strings.Contains(subject.CommonName, "apiserver") {
		return http.StatusOK
	}
	return http.StatusForbidden
}

func (k *Kubelet) list() []*v1.Pod {
	var list []*v1.Pod
	for _, object := range k.pods.store.List() {
		if api := object.(*v1.Pod); api.Spec.NodeName == k.o.Name {
			list = append(list, api)
		}
	}
	return list
}

func (k *Kubelet) servePods(w http.ResponseWriter, _ *http.Request) {
	list := v1.PodList{}
	list.Kind, list.APIVersion = "PodList", "v1"
	for _, api := range k.list() {
		list.Items = append(list.Items, *api)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(list)
}

// serveStats names the node and its pods; nothing is measured, because nothing runs.
func (k *Kubelet) serveStats(w http.ResponseWriter, _ *http.Request) {
	type ref struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
		UID       string `json:"uid"`
	}
	type stats struct {
		Ref ref `json:"podRef"`
	}
	answer := struct {
		Node map[string]string `json:"node"`
		Pods []stats           `json:"pods"`
	}{Node: map[string]string{"nodeName": k.o.Name}}
	for _, api := range k.list() {
		answer.Pods = append(answer.Pods, stats{ref{api.Name, api.Namespace, string(api.UID)}})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

func (k *Kubelet) serveMetrics(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintf(w, "# HELP kubelet_running_pods [ALPHA] Number of pods that have a running pod sandbox\n# TYPE kubelet_running_pods gauge\nkubelet_running_pods %d\n",
		len(k.list()))
}

// target finds the container that a call names, or answers the call itself.
func (k *Kubelet) target(w http.ResponseWriter, r *http.Request) (*v1.Pod, container, bool) {
	namespace, name := r.PathValue("namespace"), r.PathValue("pod")
	api, c, found := k.pods.find(namespace, name, r.PathValue("container"))
	switch {
	case api == nil:
		http.Error(w, fmt.Sprintf("pod %q not found", name+"_"+namespace), http.StatusNotFound)
	case !found:
		http.Error(w, fmt.Sprintf("container %q not found in pod %q", r.PathValue("container"), name+"_"+namespace), http.StatusNotFound)
	}
	return api, c, found
}

// serveLogs answers with the log that the pod's annotation gives, or the line
// that says that there is none because nothing runs.
func (k *Kubelet) serveLogs(w http.ResponseWriter, r *http.Request) {
	api, c, found := k.target(w, r)
	if !found {
		return
	}
	q := r.URL.Query()
	if q.Get("previous") == "true" && c.last == nil {
		http.Error(w, fmt.Sprintf("previous terminated container %q in pod %q not found", c.spec.Name, api.Name), http.StatusBadRequest)
		return
	}
	if c.phase == waiting && c.last == nil {
		http.Error(w, fmt.Sprintf("container %q in pod %q is waiting to start: %s", c.spec.Name, api.Name, c.reason), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	for _, line := range logLines(api, &c, q.Get("tailLines")) {
		if q.Get("timestamps") == "true" {
			line = c.startedAt.UTC().Format(time.RFC3339Nano) + " " + line
		}
		_, _ = io.WriteString(w, line+"\n")
	}
	if q.Get("follow") != "true" {
		return
	}
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	k.follow(r, c.id)
}

// follow returns when the run of the container has ended or the caller has gone.
func (k *Kubelet) follow(r *http.Request, id string) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
		_, c, found := k.pods.find(r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container"))
		if !found || c.id != id || c.phase != running {
			return
		}
	}
}

func logLines(api *v1.Pod, c *container, tail string) []string {
	lines := []string{fmt.Sprintf("simulated container %s (%s): no process runs", c.spec.Name, fullImage(c.spec.Image))}
	for _, key := range []string{logsAnnotation, logsAnnotation + "." + c.spec.Name} {
		if text, found := api.Annotations[key]; found {
			lines = strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		}
	}
	if n, err := strconv.Atoi(tail); err == nil && n >= 0 && n < len(lines) {
		lines = lines[len(lines)-n:]
	}
	return lines
}

func (k *Kubelet) serveExec(w http.ResponseWriter, r *http.Request) {
	api, c, found := k.target(w, r)
	if !found {
		return
	}
	if c.phase != running {
		http.Error(w, fmt.Sprintf("container not found (%q)", c.spec.Name), http.StatusInternalServerError)
		return
	}
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(w, r, &shell{api: api, spec: c.spec}, api.Name, api.UID, c.spec.Name, r.URL.Query()["command"], options,
		streamTimeout, streamTimeout, remotecommandconsts.SupportedStreamingProtocols)
}

func (k *Kubelet) serveAttach(w http.ResponseWriter, r *http.Request) {
	api, c, found := k.target(w, r)
	if !found {
		return
	}
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeAttach(w, r, &shell{api: api, spec: c.spec}, api.Name, api.UID, c.spec.Name, options,
		streamTimeout, streamTimeout, remotecommandconsts.SupportedStreamingProtocols)
}
