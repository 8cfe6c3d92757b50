package node

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"maps"
	"os"
	"strings"

	"hmco-boot/k3s-standin/internal/config"
)

// annotations are what K3s puts on its Node at every start.
func (a *agent) annotations() map[string]string {
	m := map[string]string{
		"alpha.kubernetes.io/provided-node-ip": a.j.ip,
		"k3s.io/hostname":                      a.j.node,
		"k3s.io/internal-ip":                   a.j.ip,
	}
	maps.Copy(m, configAnnotations(a.o.Config.Command, os.Args, os.Environ()))
	if backend := a.config.FlannelBackend; backend != "none" && backend != "" {
		m["flannel.alpha.coreos.com/backend-type"] = backend
		m["flannel.alpha.coreos.com/backend-data"] = "null"
		m["flannel.alpha.coreos.com/kube-subnet-manager"] = "true"
		m["flannel.alpha.coreos.com/public-ip"] = a.j.ip
	}
	if a.o.Annotations != nil {
		maps.Copy(m, a.o.Annotations())
	}
	return m
}

const hidden = "********"

// secretFlags are the flags whose values are hidden in the annotation.
var secretFlags = map[string]bool{
	"--token": true, "-t": true, "--agent-token": true, "--datastore-endpoint": true, "--etcd-s3-access-key": true,
	"--etcd-s3-secret-key": true, "--vpn-auth": true, "--cluster-secret": true,
}

// secretEnv are the variables whose values are hidden.
var secretEnv = map[string]bool{
	"K3S_TOKEN": true, "K3S_AGENT_TOKEN": true, "K3S_CLUSTER_SECRET": true, "K3S_DATASTORE_ENDPOINT": true, "K3S_VPN_AUTH": true,
}

// configAnnotations describe how the node was started: its arguments (those of
// the files first), the variables of K3s, and a hash over both.
func configAnnotations(command string, argv, environ []string) map[string]string {
	args := []string{command}
	var given []string
	if len(argv) > 2 {
		given = argv[2:]
	}
	flags := config.AgentFlags()
	if command == "server" {
		flags = config.ServerFlags()
	}
	fromFiles, err := config.FileArgs(given, config.Known(flags), false)
	if err != nil {
		fromFiles = nil
	}
	hide := false
	for _, arg := range append(fromFiles, given...) {
		name, value, split := strings.Cut(arg, "=")
		if !strings.HasPrefix(arg, "-") || hide {
			name, split = arg, false
		}
		switch {
		case hide:
			args = append(args, hidden)
			hide = false
			continue
		case !split:
			hide = secretFlags[name]
			args = append(args, name)
			continue
		case secretFlags[name]:
			value = hidden
		}
		args = append(args, name, value)
	}
	env := map[string]string{}
	for _, item := range environ {
		name, value, _ := strings.Cut(item, "=")
		if !strings.HasPrefix(name, "K3S_") || strings.HasPrefix(name, "K3S_STANDIN_") {
			continue
		}
		if secretEnv[name] {
			value = hidden
		}
		env[name] = value
	}
	argsJSON, envJSON := compact(args), compact(env)
	sum := sha256.Sum256([]byte(argsJSON + envJSON))
	return map[string]string{
		"k3s.io/node-args": argsJSON, "k3s.io/node-env": envJSON, "k3s.io/node-config-hash": base32.StdEncoding.EncodeToString(sum[:]),
	}
}

func compact(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(data)
}
