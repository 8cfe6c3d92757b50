package kubectl

import (
	"fmt"

	"hmco-boot/k3s-standin/internal/logx"
)

// Crictl refuses politely: there is no container runtime whose state it could
// show, and made-up containers would be a lie.
func Crictl(args []string, io logx.Streams) int {
	_ = args
	fmt.Fprintln(io.Err, "crictl: this K3s is simulated: no container runtime runs on this node, and no containers. The pods are in the API: kubectl get pods -A")
	return 1
}
