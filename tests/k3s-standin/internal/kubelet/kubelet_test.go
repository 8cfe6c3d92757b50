package kubelet

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/client-go/util/exec"
)

// run starts a kubelet on a made-up API and ends it with the test.
func run(t *testing.T, change func(*Options), objects ...*v1.Pod) kubernetes.Interface {
	t.Helper()
	client := fake.NewClientset()
	for _, p := range objects {
		if _, err := client.CoreV1().Pods(p.Namespace).Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{
		Name: "n1", IP: "192.0.2.1", Client: client, Version: "v1.2.3", Timings: DefaultTimings(), Now: time.Now, Images: noImages, Log: t.Logf,
		Annotations: func() map[string]string { return map[string]string{"k3s.io/hostname": "n1"} },
	}
	if change != nil {
		change(&o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- Run(ctx, o) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return client
}

// await asks until ok says yes.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func bound(name string) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns", UID: uid("uid-" + name)},
		Spec:       v1.PodSpec{NodeName: "n1", RestartPolicy: v1.RestartPolicyAlways, Containers: []v1.Container{{Name: "c", Image: "a"}}},
	}
}

func TestANodeRegistersAndItsPodsRunOnTheirOwnAddresses(t *testing.T) {
	client := run(t, nil, bound("a"), bound("b"))
	var node *v1.Node
	await(t, "node ready", func() bool {
		var err error
		node, err = client.CoreV1().Nodes().Get(t.Context(), "n1", metav1.GetOptions{})
		return err == nil && nodeReady(&node.Status)
	})
	if node.Annotations[SimulatedAnnotation] != "true" || node.Annotations["k3s.io/hostname"] != "n1" || node.Spec.ProviderID != "k3s://n1" {
		t.Errorf("node %+v", node.ObjectMeta)
	}
	if _, err := client.CoordinationV1().Leases(leaseNamespace).Get(t.Context(), "n1", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	node.Spec.PodCIDR = "10.42.7.0/24"
	if _, err := client.CoreV1().Nodes().Update(t.Context(), node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	addresses := map[string]bool{}
	for _, name := range []string{"a", "b"} {
		await(t, "pod "+name+" running with an address", func() bool {
			p, err := client.CoreV1().Pods("ns").Get(t.Context(), name, metav1.GetOptions{})
			if err != nil || p.Status.Phase != v1.PodRunning || p.Status.PodIP == "" {
				return false
			}
			addresses[p.Status.PodIP] = true
			return true
		})
	}
	if len(addresses) != 2 || !addresses["10.42.7.2"] {
		t.Errorf("addresses %v", addresses)
	}
}

func TestAPodThatNeedsASecretWaitsForIt(t *testing.T) {
	p := bound("a")
	p.Spec.Volumes = []v1.Volume{{Name: "v", VolumeSource: v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "s"}}}}
	client := run(t, nil, p)
	await(t, "FailedMount told", func() bool {
		list, err := client.CoreV1().Events("ns").List(t.Context(), metav1.ListOptions{})
		return err == nil && strings.Contains(fmt.Sprint(list.Items), `secret \"s\" not found`) || strings.Contains(fmt.Sprint(list.Items), `secret "s" not found`)
	})
	if _, err := client.CoreV1().Secrets("ns").Create(t.Context(), &v1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, "running", func() bool {
		p, err := client.CoreV1().Pods("ns").Get(t.Context(), "a", metav1.GetOptions{})
		return err == nil && p.Status.Phase == v1.PodRunning
	})
}

// authority signs the certificates of a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	pair := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.cert, a.key = pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

func (a *authority) sign(c *x509.Certificate) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func pemOf(pair tls.Certificate) (cert, key []byte) {
	der, err := x509.MarshalECPrivateKey(pair.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestLogsAndExecAreAnsweredToTheAPIServerAlone(t *testing.T) {
	ca := newAuthority(t)
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	serving := ca.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "n1"}, IPAddresses: []net.IP{net.ParseIP("127.0.0.1")}})
	address := freePort(t)
	p := bound("a")
	p.Annotations = map[string]string{execAnnotation: `[{"command": "^psql ", "stdout": "1 row\n"}]`, logsAnnotation: "one\ntwo\n"}
	client := run(t, func(o *Options) {
		o.Listen, o.ClientCA = address, pool
		o.Certificate = func() (*tls.Certificate, error) { return &serving, nil }
	}, p)
	await(t, "running", func() bool {
		p, err := client.CoreV1().Pods("ns").Get(t.Context(), "a", metav1.GetOptions{})
		return err == nil && p.Status.Phase == v1.PodRunning
	})

	own := ca.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "system:apiserver", Organization: []string{"system:masters"}}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	other := ca.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "system:node:n2"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	get := func(path string, certs ...tls.Certificate) (int, string) {
		t.Helper()
		h := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs}}}
		resp, err := h.Get("https://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var b bytes.Buffer
		_, _ = b.ReadFrom(resp.Body)
		return resp.StatusCode, b.String()
	}
	logs := "/containerLogs/ns/a/c?tailLines=1"
	if code, body := get(logs, own); code != 200 || body != "two\n" {
		t.Errorf("logs: %d %q", code, body)
	}
	if code, _ := get(logs, other); code != http.StatusForbidden {
		t.Errorf("another node: %d", code)
	}
	if code, _ := get(logs); code != http.StatusUnauthorized {
		t.Errorf("without a certificate: %d", code)
	}
	if code, _ := get("/containerLogs/ns/a/x", own); code != http.StatusNotFound {
		t.Errorf("no such container: %d", code)
	}

	cert, key := pemOf(own)
	root, _ := pemOf(tls.Certificate{Certificate: [][]byte{ca.cert.Raw}, PrivateKey: ca.key})
	config := &rest.Config{Host: "https://" + address, TLSClientConfig: rest.TLSClientConfig{CAData: root, CertData: cert, KeyData: key}}
	execute := func(command ...string) (string, string, error) {
		t.Helper()
		config := rest.CopyConfig(config)
		config.APIPath, config.GroupVersion, config.NegotiatedSerializer = "/", &v1.SchemeGroupVersion, scheme.Codecs
		rc, err := rest.UnversionedRESTClientFor(config)
		if err != nil {
			t.Fatal(err)
		}
		request := rc.Post().AbsPath("/exec/ns/a/c").Param("output", "1").Param("error", "1")
		for _, word := range command {
			request = request.Param("command", word)
		}
		e, err := remotecommand.NewSPDYExecutor(config, http.MethodPost, request.URL())
		if err != nil {
			t.Fatal(err)
		}
		var out, errOut bytes.Buffer
		err = e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: &out, Stderr: &errOut})
		return out.String(), errOut.String(), err
	}
	if out, _, err := execute("echo", "a", "b"); err != nil || out != "a b\n" {
		t.Errorf("echo: %q %v", out, err)
	}
	if out, _, err := execute("psql", "-c", "x"); err != nil || out != "1 row\n" {
		t.Errorf("annotated: %q %v", out, err)
	}
	_, text, err := execute("rm", "-rf", "/")
	if exit, ok := err.(utilexec.CodeExitError); !ok || exit.Code != 126 || !strings.Contains(text, "simulated") {
		t.Errorf("unknown command: %q %v", text, err)
	}
}
