package pki

import (
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"hmco-boot/k3s-standin/internal/paths"
)

// componentURL is where the parts of a server find its apiserver.
const componentURL = "https://127.0.0.1:6444"

func writeKubeconfigs(p paths.Data) error {
	for file, cert := range map[string]string{
		"admin":            "client-admin",
		"api-server":       "client-kube-apiserver",
		"cloud-controller": "client-k3s-cloud-controller",
		"controller":       "client-controller",
		"scheduler":        "client-scheduler",
		"supervisor":       "client-supervisor",
	} {
		text := Kubeconfig(componentURL, p.TLS("server-ca.crt"), p.TLS(cert+".crt"), p.TLS(cert+".key"))
		if err := WriteFile(p.Cred(file+".kubeconfig"), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Kubeconfig is a kubeconfig that names its certificate files.
func Kubeconfig(server, ca, cert, key string) string {
	lines := []string{
		"apiVersion: v1", "clusters:", "- cluster:", "    server: " + server, "    certificate-authority: " + ca, "  name: local",
		"contexts:", "- context:", "    cluster: local", "    namespace: default", "    user: user", "  name: Default",
		"current-context: Default", "kind: Config", "preferences: {}", "users:", "- name: user", "  user:",
		"    client-certificate: " + cert, "    client-key: " + key, "",
	}
	return strings.Join(lines, "\n")
}

// AdminKubeconfig is the text of /etc/rancher/k3s/k3s.yaml, which holds its certificates.
func AdminKubeconfig(p paths.Data, server string) (string, error) {
	var b64 [3]string
	for i, file := range []string{"server-ca.crt", "client-admin.crt", "client-admin.key"} {
		data, err := os.ReadFile(p.TLS(file))
		if err != nil {
			return "", err
		}
		b64[i] = base64.StdEncoding.EncodeToString(data)
	}
	return fmt.Sprintf(`apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: %s
    server: %s
  name: default
contexts:
- context:
    cluster: default
    user: default
  name: default
current-context: default
kind: Config
preferences: {}
users:
- name: default
  user:
    client-certificate-data: %s
    client-key-data: %s
`, b64[0], server, b64[1], b64[2]), nil
}
