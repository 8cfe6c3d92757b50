// Package cli wires the program together: it chooses the command by the program's name or the first argument, and runs
// the server. It is the only package that knows all others.
package cli

import (
	"fmt"
	"path/filepath"
	"runtime"

	"hmco-boot/k3s-standin/internal/certs"
	"hmco-boot/k3s-standin/internal/encryption"
	"hmco-boot/k3s-standin/internal/kubectl"
	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/node"
	"hmco-boot/k3s-standin/internal/snapshot"
	"hmco-boot/k3s-standin/internal/token"
	"hmco-boot/k3s-standin/internal/version"
)

// commands are what the program does, by name: as the first argument, and some as the program's own name.
var commands = map[string]func(args []string, io logx.Streams) int{
	"server":          runServer,
	"agent":           node.Command,
	"kubectl":         kubectl.Main,
	"crictl":          kubectl.Crictl,
	"ctr":             noRuntime,
	"check-config":    checkConfig,
	"etcd-snapshot":   snapshot.Command,
	"secrets-encrypt": encryption.Command,
	"token":           token.Command,
	"certificate":     certs.Command,
	"help":            help,
}

// Main runs the program and returns its exit status.
func Main(argv []string, io logx.Streams) int {
	switch name := filepath.Base(argv[0]); name {
	case "kubectl", "crictl", "ctr":
		return commands[name](argv[1:], io)
	}
	if len(argv) < 2 {
		return help(nil, io)
	}
	switch argv[1] {
	case "--version", "-v":
		fmt.Fprintf(io.Out, "k3s version %s (%s)\ngo version %s\n", version.Version, version.Commit, runtime.Version())
		return 0
	case "--help", "-h":
		return help(nil, io)
	}
	if run, ok := commands[argv[1]]; ok {
		return run(argv[2:], io)
	}
	fmt.Fprintf(io.Err, "No help topic for '%s'\n", argv[1])
	return 3
}

func noRuntime(_ []string, io logx.Streams) int {
	fmt.Fprintln(io.Err, "ctr: this K3s runs no containers: its kubelet is simulated")
	return 1
}

func checkConfig(_ []string, io logx.Streams) int {
	fmt.Fprintln(io.Out, "STATUS: pass")
	return 0
}

func help(_ []string, io logx.Streams) int {
	fmt.Fprintf(io.Out, `NAME:
   k3s - Kubernetes, but small and simple

USAGE:
   k3s [global options] command [command options] [arguments...]

VERSION:
   %s (%s)

COMMANDS:
   server           Run management server
   agent            Run node agent
   kubectl          Run kubectl
   crictl           Run crictl
   ctr              Run ctr
   check-config     Run config check
   token            Manage tokens
   etcd-snapshot    Manage etcd snapshots
   secrets-encrypt  Control secrets encryption and keys rotation
   certificate      Manage K3s certificates
   help, h          Shows a list of commands or help for one command

GLOBAL OPTIONS:
   --debug                     (logging) Turn on debug logs [$K3S_DEBUG]
   --data-dir value, -d value  (data) Folder to hold state (default: /var/lib/rancher/k3s or ${HOME}/.rancher/k3s if not root) [$K3S_DATA_DIR]
   --help, -h                  show help
   --version, -v               print the version
`, version.Version, version.Commit)
	return 0
}
