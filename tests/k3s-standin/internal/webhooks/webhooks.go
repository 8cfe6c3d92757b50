// Package webhooks answers admission webhooks whose pods are simulated: it allows everything, with a warning that says
// that the webhook was not consulted. A Service behind which something really listens (a controller that was started as
// a process, on its pod's address) is called as usual, and so are aggregated APIs and conversion webhooks, which nobody
// can answer in another's place. A Service without ready pods fails as it does in a real cluster.
package webhooks

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"hmco-boot/k3s-standin/internal/faults"
)

const (
	lookupTimeout = 5 * time.Second
	dialTimeout   = 500 * time.Millisecond
)

// Resolver finds the address behind a Service for the apiserver.
type Resolver struct {
	admin   func() (*rest.Config, error)
	address string // of the responder
}

// New starts the responder on a port of the loopback interface and returns the apiserver's resolver. The responder's
// CA is added to the certificates that this process trusts (environment variable SSL_CERT_FILE, which names file from
// now on), so it is to be called before anything is verified.
func New(ctx context.Context, file string, admin func() (*rest.Config, error)) (*Resolver, error) {
	mint, err := newMint()
	if err != nil {
		return nil, err
	}
	if err := trust(file, mint.caPEM); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{
		Handler: http.HandlerFunc(answer), ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig:    &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: mint.certificate},
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	server.SetKeepAlivesEnabled(false) // every call resolves anew: a kept connection would outlive the pods
	go func() { _ = server.ServeTLS(listener, "", "") }()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return &Resolver{admin: admin, address: listener.Addr().String()}, nil
}

// systemRoots are the places where Go looks for the machine's certificates.
var systemRoots = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"}

func trust(file string, ca []byte) error {
	var all []byte
	for _, name := range append([]string{os.Getenv("SSL_CERT_FILE")}, systemRoots...) {
		if data, err := os.ReadFile(name); err == nil && name != file {
			all = data
			break
		}
	}
	if err := os.WriteFile(file, append(append(all, '\n'), ca...), 0o600); err != nil {
		return err
	}
	return os.Setenv("SSL_CERT_FILE", file)
}

// ResolveEndpoint returns the address of the Service's first ready pod, or the responder's when the Service belongs to
// an admission webhook and nothing listens at that address.
func (r *Resolver) ResolveEndpoint(namespace, name string, port int32) (*url.URL, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	config, err := r.admin()
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return r.resolve(ctx, client, namespace, name, port)
}

func (r *Resolver) resolve(ctx context.Context, client kubernetes.Interface, namespace, name string, port int32) (*url.URL, error) {
	address, err := endpoint(ctx, client, namespace, name, port)
	if err != nil {
		return nil, err
	}
	if conn, err := net.DialTimeout("tcp", address, dialTimeout); err == nil {
		_ = conn.Close()
		return &url.URL{Scheme: "https", Host: address}, nil
	}
	var mine bool
	err = retry.OnError(retry.DefaultBackoff, func(error) bool { return ctx.Err() == nil }, func() (err error) {
		mine, err = admission(ctx, client, namespace, name)
		return err
	})
	if err == nil && mine {
		address = r.address
	}
	return &url.URL{Scheme: "https", Host: address}, nil
}

// endpoint is the address of a ready pod behind the Service's port.
func endpoint(ctx context.Context, client kubernetes.Interface, namespace, name string, port int32) (string, error) {
	service, err := client.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	var wanted *v1.ServicePort
	for i := range service.Spec.Ports {
		if service.Spec.Ports[i].Port == port {
			wanted = &service.Spec.Ports[i]
		}
	}
	if wanted == nil {
		return "", fmt.Errorf("no service port %d found for service %q", port, name)
	}
	endpoints, err := client.CoreV1().Endpoints(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	for _, subset := range endpoints.Subsets {
		for _, p := range subset.Ports {
			if p.Name == wanted.Name && len(subset.Addresses) > 0 {
				return net.JoinHostPort(subset.Addresses[0].IP, fmt.Sprint(p.Port)), nil
			}
		}
	}
	return "", fmt.Errorf("no endpoints available for service %q", name)
}

// admission says whether an admission webhook calls the Service, and no aggregated API is served by it.
func admission(ctx context.Context, client kubernetes.Interface, namespace, name string) (bool, error) {
	validating, err := client.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, err
	}
	mutating, err := client.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, err
	}
	var configs []admissionregistrationv1.WebhookClientConfig
	for _, item := range validating.Items {
		for _, hook := range item.Webhooks {
			configs = append(configs, hook.ClientConfig)
		}
	}
	for _, item := range mutating.Items {
		for _, hook := range item.Webhooks {
			configs = append(configs, hook.ClientConfig)
		}
	}
	for _, c := range configs {
		if c.Service != nil && c.Service.Namespace == namespace && c.Service.Name == name {
			return true, nil
		}
	}
	return false, nil
}

// answer allows an admission request and says that nobody looked at it. Anything else than an admission request (a
// conversion, say) is not understood.
func answer(w http.ResponseWriter, r *http.Request) {
	review, err := read(r)
	if err == nil {
		err = faults.AtContext(r.Context(), "webhook.answer")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	service := r.Host
	if r.TLS != nil && r.TLS.ServerName != "" {
		service = r.TLS.ServerName
	}
	review.Response = &admissionv1.AdmissionResponse{
		UID: review.Request.UID, Allowed: true,
		Warnings: []string{fmt.Sprintf("simulated K3s: the webhook at %s%s was not consulted, its pods run nothing", service, r.URL.Path)},
	}
	review.Request = nil
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review)
}

func read(r *http.Request) (*admissionv1.AdmissionReview, error) {
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(io.LimitReader(r.Body, 16<<20)).Decode(&review); err != nil {
		return nil, err
	}
	if review.Kind != "AdmissionReview" || review.Request == nil {
		return nil, errors.New("simulated K3s: only admission reviews are answered")
	}
	return &review, nil
}
