package node

import (
	"fmt"
	"os"
	"strings"

	"hmco-boot/k3s-standin/internal/paths"
	"hmco-boot/k3s-standin/internal/pki"
)

// agentFile is one file of the agent's folder.
type agentFile struct {
	name string
	mode os.FileMode
	text string
}

// writeFiles makes the folders and files that an agent leaves behind besides
// its certificates. There is no containerd and no flannel: their files are
// there because tools look for them. The mode of etc is another one on agents,
// whose load balancer makes it.
func writeFiles(p paths.Data, c clusterConfig, server string, etc os.FileMode) error {
	for _, dir := range []struct {
		name string
		mode os.FileMode
	}{
		{"containerd", 0o700}, {"etc", etc}, {"etc/cni", 0o755}, {"etc/cni/net.d", 0o755}, {"etc/containerd", 0o755},
		{"etc/flannel", 0o755}, {"etc/kubelet.conf.d", 0o700}, {"pod-manifests", 0o750},
	} {
		if err := os.MkdirAll(p.Agent(dir.name), dir.mode); err != nil {
			return err
		}
	}
	kubeconfig := func(name string) string {
		return pki.Kubeconfig(server, p.Agent("server-ca.crt"), p.Agent("client-"+name+".crt"), p.Agent("client-"+name+".key"))
	}
	files := []agentFile{
		{"kubelet.kubeconfig", 0o600, kubeconfig("kubelet")},
		{"kubeproxy.kubeconfig", 0o600, kubeconfig("kube-proxy")},
		{"k3scontroller.kubeconfig", 0o600, kubeconfig("k3s-controller")},
		{"etc/crictl.yaml", 0o600, "runtime-endpoint: unix:///run/k3s/containerd/containerd.sock\n"},
		{"etc/containerd/config.toml", 0o644, "# Simulated K3s: no containerd runs here.\nversion = 3\nroot = \"" + p.Agent("containerd") + "\"\nstate = \"/run/k3s/containerd\"\n"},
		{"etc/kubelet.conf.d/00-k3s-defaults.conf", 0o600, kubeletDefaults(p, c)},
	}
	if c.FlannelBackend != "none" {
		files = append(files,
			agentFile{"etc/cni/net.d/10-flannel.conflist", 0o644, flannelCNI},
			agentFile{"etc/flannel/net-conf.json", 0o644, flannelNetwork(c)})
	}
	for _, f := range files {
		if err := pki.WriteFile(p.Agent(f.name), []byte(f.text), f.mode); err != nil {
			return err
		}
	}
	return nil
}

const flannelCNI = `{
  "name":"cbr0",
  "cniVersion":"1.0.0",
  "plugins":[
    {
      "type":"flannel",
      "delegate":{
        "hairpinMode":true,
        "forceAddress":true,
        "isDefaultGateway":true
      }
    },
    {
      "type":"portmap",
      "capabilities":{
        "portMappings":true
      }
    },
    {
      "type":"bandwidth",
      "capabilities":{
        "bandwidth":true
      }
    }
  ]
}
`

func flannelNetwork(c clusterConfig) string {
	return fmt.Sprintf("{\n\t\"Network\": %q,\n\t\"EnableIPv6\": false,\n\t\"EnableIPv4\": true,\n\t\"IPv6Network\": \"::/0\",\n\t\"Backend\": {\n\t\"Type\": %q\n}\n}\n",
		c.ClusterCIDR, c.FlannelBackend)
}

func kubeletDefaults(p paths.Data, c clusterConfig) string {
	return strings.Join([]string{
		"address: 0.0.0.0",
		"apiVersion: kubelet.config.k8s.io/v1beta1",
		"authentication:",
		"  anonymous:",
		"    enabled: false",
		"  webhook:",
		"    cacheTTL: 2m0s",
		"    enabled: true",
		"  x509:",
		"    clientCAFile: " + p.Agent("client-ca.crt"),
		"authorization:",
		"  mode: Webhook",
		"cgroupDriver: systemd",
		"clusterDNS:",
		"- " + c.ClusterDNS,
		"clusterDomain: " + c.ClusterDomain,
		"failSwapOn: false",
		"healthzBindAddress: 127.0.0.1",
		"kind: KubeletConfiguration",
		"resolvConf: /etc/resolv.conf",
		"serializeImagePulls: false",
		"staticPodPath: " + p.Agent("pod-manifests"),
		"tlsCertFile: " + p.Agent("serving-kubelet.crt"),
		"tlsPrivateKeyFile: " + p.Agent("serving-kubelet.key"),
		"",
	}, "\n")
}
