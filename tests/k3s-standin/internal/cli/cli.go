// Package cli wires the program together: it chooses the command by the program's name or the first argument, and runs
// the server. It is the only package that knows all others.
package cli

import "hmco-boot/k3s-standin/internal/logx"

// Main runs the program and returns its exit status.
func Main(argv []string, io logx.Streams) int { return 0 }
