// Command k3s behaves as K3s does, for tests that cannot have the real one. See README.md.
package main

import (
	"os"

	"hmco-boot/k3s-standin/internal/cli"
	"hmco-boot/k3s-standin/internal/logx"
)

func main() { os.Exit(cli.Main(os.Args, logx.Std())) }
