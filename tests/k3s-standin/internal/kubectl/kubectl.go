// Package kubectl is the real kubectl as a library, with K3s' kubeconfig as the default, and a crictl that refuses.
package kubectl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"

	// Import to initialize client auth plugins.
	_ "k8s.io/client-go/plugin/pkg/client/auth"

	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
)

// Main runs kubectl with args (without its own name). Its errors end the
// process, as the real one's do.
func Main(args []string, io logx.Streams) int {
	useKubeconfig(io)
	os.Args = append([]string{"kubectl"}, args...)
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
	return 0
}

// useKubeconfig makes K3s' kubeconfig the default where it is.
func useKubeconfig(io logx.Streams) {
	if os.Getenv("KUBECONFIG") != "" {
		return
	}
	file, err := os.Open(paths.DefaultKubeconfig)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		fmt.Fprintf(io.Err, "WARN[0000] Unable to read %s, please start server with --write-kubeconfig-mode or --write-kubeconfig-group to modify kube config permissions\n",
			paths.DefaultKubeconfig)
	default:
		_ = file.Close()
	}
	_ = os.Setenv("KUBECONFIG", paths.DefaultKubeconfig)
}
