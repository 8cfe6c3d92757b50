// Package node is the agent: the join with its failures, the balancer towards several servers, the calls by which
// servers let nodes join, and what the servers do for all nodes. The Node itself is simulated by package kubelet.
package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/faults"
	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
	"hmco-boot/k3s-standin/internal/version"
)

// Options are what a server gives to its own agent.
type Options struct {
	Config *config.Config
	Paths  paths.Data
	// Server is the supervisor's URL: https://127.0.0.1:6443 on a server.
	Server string
	// Token is the short or full token with which configuration and certificates are fetched.
	Token string
	// ControlPlane and Etcd are the roles in the Node's labels.
	ControlPlane, Etcd bool
	// Annotations are put on the Node at every start.
	Annotations func() map[string]string
	// APIReady is closed when the apiserver is ready; nil on agents, which ask for themselves.
	APIReady <-chan struct{}
	// Up is called once, when the agent "is up and running".
	Up func()
}

// Command runs `k3s agent ARGS`.
func Command(args []string, io logx.Streams) int {
	faults.Warn = func(line string) { logx.Warnf("%s", line) }
	logx.SetClock(faults.Now)
	cfg, err := config.LoadAgent(args)
	if err != nil {
		return wrongConfig(err, io)
	}
	logx.SetDebug(cfg.Debug)
	if err := check(cfg); err != nil {
		return fatal(err)
	}
	ctx := untilSignal()
	logx.Infof("Starting k3s agent %s (%s)", version.Version, version.Commit)
	err = Run(ctx, Options{Config: cfg, Paths: paths.New(cfg.DataDir), Server: cfg.ServerURL, Token: cfg.Token, Up: notifyReady})
	if err != nil && !errors.Is(err, context.Canceled) {
		return fatal(err)
	}
	return 0
}

// untilSignal is a context that SIGTERM or SIGINT ends; a second signal ends the process.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		s := <-signals
		logx.Warnf("signal received: %q, canceling context...", s)
		cancel()
		<-signals
		os.Exit(1)
	}()
	return ctx
}

// wrongConfig tells about arguments or files that cannot be read.
func wrongConfig(err error, io logx.Streams) int {
	if errors.Is(err, config.ErrUsage) {
		fmt.Fprintf(io.Out, "Incorrect Usage: %v\n\n", err)
	}
	logx.With("fatal", nil, "%v", err)
	return 1
}

func check(cfg *config.Config) error {
	switch {
	case cfg.ServerURL == "":
		return errors.New("--server is required")
	case cfg.Token == "":
		return errors.New("--token is required")
	}
	return nil
}

func fatal(err error) int {
	logx.With("fatal", nil, "Error: %v", err)
	return 1
}
