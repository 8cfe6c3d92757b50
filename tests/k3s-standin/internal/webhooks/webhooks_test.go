package webhooks

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// service is a Service with one ready pod at address, and a webhook that calls it.
func service(name, address string, port int32, hook bool) *fake.Clientset {
	meta := metav1.ObjectMeta{Name: name, Namespace: "ns"}
	client := fake.NewClientset(
		&v1.Service{ObjectMeta: meta, Spec: v1.ServiceSpec{Ports: []v1.ServicePort{{Port: 443}}}},
		&v1.Endpoints{ObjectMeta: meta, Subsets: []v1.EndpointSubset{{Addresses: []v1.EndpointAddress{{IP: address}}, Ports: []v1.EndpointPort{{Port: port}}}}},
	)
	if hook {
		_ = client.Tracker().Add(&admissionregistrationv1.ValidatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Webhooks: []admissionregistrationv1.ValidatingWebhook{{
				ClientConfig: admissionregistrationv1.WebhookClientConfig{Service: &admissionregistrationv1.ServiceReference{Namespace: "ns", Name: name}},
			}},
		})
	}
	return client
}

func TestOnlyWebhooksBehindWhichNothingListensGoToTheResponder(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	open := int32(listener.Addr().(*net.TCPAddr).Port)
	r := &Resolver{address: "responder:1"}
	for _, c := range []struct {
		what string
		port int32
		hook bool
		want string
	}{
		{"a simulated webhook", 1, true, "responder:1"},
		{"a simulated aggregated API", 1, false, "127.0.0.1:1"},
		{"a webhook that runs", open, true, listener.Addr().String()},
	} {
		got, err := r.resolve(context.Background(), service("s", "127.0.0.1", c.port, c.hook), "ns", "s", 443)
		if err != nil || got.Host != c.want {
			t.Errorf("%s: %v %v", c.what, got, err)
		}
	}
	client := service("s", "127.0.0.1", 1, true)
	if err := client.CoreV1().Endpoints("ns").Delete(context.Background(), "s", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, err := r.resolve(context.Background(), client, "ns", "s", 443); err == nil {
		t.Errorf("without pods: %v", got)
	}
}

func TestTheResponderAllowsAndSaysThatNobodyLooked(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	t.Setenv("SSL_CERT_FILE", "")
	r, err := New(ctx, filepath.Join(t.TempDir(), "roots.crt"), nil)
	if err != nil {
		t.Fatal(err)
	}
	roots, err := x509.SystemCertPool() // what the file named by SSL_CERT_FILE holds
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "hook.ns.svc"}}}
	post := func(body any) (*http.Response, error) {
		data, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		return client.Post("https://"+r.address+"/validate", "application/json", bytes.NewReader(data))
	}
	review := admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{Kind: "AdmissionReview", APIVersion: "admission.k8s.io/v1"}, Request: &admissionv1.AdmissionRequest{UID: "7"},
	}
	response, err := post(review)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var got admissionv1.AdmissionReview
	if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.Response == nil || !got.Response.Allowed || got.Response.UID != "7" || !strings.Contains(strings.Join(got.Response.Warnings, ""), "hook.ns.svc/validate was not consulted") {
		t.Errorf("%+v", got.Response)
	}
	other, err := post(map[string]string{"kind": "ConversionReview"})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Body.Close()
	if other.StatusCode != http.StatusInternalServerError {
		t.Errorf("a conversion: %d", other.StatusCode)
	}
}
