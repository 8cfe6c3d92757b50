package certs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"hmco-boot/k3s-standin/internal/bootstrap"
	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
	"hmco-boot/k3s-standin/internal/snapshot"
	"hmco-boot/k3s-standin/internal/supervisor"
	"hmco-boot/k3s-standin/internal/usage"
)

const callLimit = 30 * time.Second

var serviceFlag = config.Flag{
	Names: []string{"service", "s"}, Kind: config.List,
	Usage: "List of services to manage certificates for. Options include (admin, api-server, controller-manager, scheduler, " +
		"supervisor, k3s-controller, k3s-server, cloud-controller, etcd, auth-proxy, kubelet, kube-proxy)",
}

// Command runs `k3s certificate ARGS` and returns the exit status.
func Command(args []string, io logx.Streams) int {
	local := []config.Flag{
		{Names: []string{"debug"}, Kind: config.Bool, Env: "K3S_DEBUG", Usage: "(logging) Turn on debug logs"},
		{
			Names: []string{"config", "c"}, Default: paths.DefaultConfig, Env: "K3S_CONFIG_FILE",
			Usage: "(config) Load configuration from `FILE`",
		},
		{Names: []string{"log", "l"}, Usage: "(logging) Log to file"},
		{Names: []string{"alsologtostderr"}, Kind: config.Bool, Usage: "(logging) Log to standard error as well as file (if set)"},
		usage.DataDir, serviceFlag,
	}
	server := usage.Server
	root := &usage.Command{
		Path: "k3s certificate", About: "Manage K3s certificates",
		Commands: []*usage.Command{
			{
				Path: "k3s certificate check", About: "Check k3s component certificates on disk", Run: runCheck,
				Flags: append(append([]config.Flag{}, local...), config.Flag{
					Names: []string{"output", "o"}, Default: "text", Usage: "Format output. Options: text, table",
				}),
			},
			{Path: "k3s certificate rotate", About: "Rotate k3s component certificates on disk", Run: runRotate, Flags: local},
			{
				Path: "k3s certificate rotate-ca", About: "Write updated k3s CA certificates to the datastore", Run: runRotateCA,
				Flags: []config.Flag{
					usage.DataDir, {Names: server.Names, Default: server.Default, Env: server.Env, Usage: "(cluster) Server to connect to"},
					{Names: []string{"path"}, Usage: "Path to directory containing new CA certificates"},
					{Names: []string{"force"}, Kind: config.Bool, Usage: "Force certificate replacement, even if consistency checks fail"},
				},
			},
		},
	}
	return root.Execute(args, io)
}

// choose finds the services and says what is done to them.
func choose(v *config.Values, doing string) (paths.Data, []service, bool, error) {
	p := usage.Paths(v)
	_, err := os.Stat(p.TLS())
	server := err == nil
	list, err := chosen(v.List("service"), server)
	if err != nil {
		return p, nil, server, err
	}
	switch {
	case len(v.List("service")) > 0:
	case server:
		logx.Infof("Server detected, %s agent and server certificates", doing)
	default:
		logx.Infof("Agent detected, %s agent certificates", doing)
	}
	return p, list, server, nil
}

func runCheck(v *config.Values, io logx.Streams) error {
	p, list, _, err := choose(v, "checking")
	if err != nil {
		return err
	}
	output := v.Text("output")
	if output != "text" && output != "table" {
		return fmt.Errorf("invalid output format %s", output)
	}
	now := time.Now()
	var all []entry
	for _, one := range list {
		if output == "text" {
			logx.Infof("Checking certificates for %s", one.name)
		}
		for _, file := range one.files(p) {
			found, err := inspect(file, now)
			if errors.Is(err, os.ErrNotExist) {
				continue
			} else if err != nil {
				return err
			}
			if output == "text" {
				sayEntries(found)
			}
			all = append(all, found...)
		}
	}
	if output == "table" {
		return printTable(io.Out, all)
	}
	return nil
}

func sayEntries(list []entry) {
	for _, one := range list {
		logx.With(one.level, nil, "%s: certificate %s %s", one.file, one.subject, one.said)
	}
}

func printTable(w io.Writer, list []entry) error {
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "CERTIFICATE\tSUBJECT\tSTATUS\tEXPIRES")
	fmt.Fprintln(table, "-----------\t-------\t------\t-------")
	for _, one := range list {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", filepath.Base(one.file), one.subject, one.status, one.expires.UTC().Format(time.RFC3339))
	}
	return table.Flush()
}

// runRotate takes the leaf certificates away, also under a running server: it does not look whether one runs.
func runRotate(v *config.Values, _ logx.Streams) error {
	p, list, server, err := choose(v, "rotating")
	if err != nil {
		return err
	}
	backup := fmt.Sprintf("%s-%d", p.Agent(), time.Now().Unix())
	if server {
		backup = fmt.Sprintf("%s-%d", p.TLS(), time.Now().Unix())
		if err := snapshot.CopyTree(p.TLS(), backup); err != nil {
			return err
		}
	} else if err := backupAgent(p, backup); err != nil {
		return err
	}
	if server && len(v.List("service")) == 0 {
		logx.Infof("Rotating dynamic listener certificate")
		if err := os.WriteFile(p.TLS("dynamic-cert-regenerate"), nil, 0o600); err != nil {
			return err
		}
	}
	for _, one := range list {
		logx.Infof("Rotating certificates for %s", one.name)
	}
	for _, file := range leafFiles(p, list) {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	logx.Infof("Successfully backed up certificates to %s, please restart k3s server or agent to rotate certificates", backup)
	return nil
}

// backupAgent copies an agent's certificates and keys.
func backupAgent(p paths.Data, backup string) error {
	if err := os.MkdirAll(backup, 0o700); err != nil {
		return err
	}
	for _, pattern := range []string{"*.crt", "*.key"} {
		files, err := filepath.Glob(p.Agent(pattern))
		if err != nil {
			return err
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(backup, filepath.Base(file)), data, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// runRotateCA sends what is found in the folder; that nothing was found is no error.
func runRotateCA(v *config.Values, io logx.Streams) error {
	if v.Text("path") == "" {
		return errors.New("server token and path to CA certificates are required")
	}
	token, err := usage.Token("", usage.Paths(v))
	if err != nil {
		return err
	}
	staged := paths.Data{Dir: filepath.Clean(v.Text("path"))}
	record := bootstrap.Record{}
	for name, file := range authorityFiles(staged) {
		info, err := os.Stat(file)
		if err != nil {
			logx.Warnf("failed to stat %s: %v", name, err)
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		record[name] = bootstrap.File{Timestamp: info.ModTime(), Content: data}
	}
	body, err := json.Marshal(rotateRequest{Record: record, Force: v.Bool("force")})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	if _, err := supervisor.Call(ctx, v.Text("server"), token, "PUT", rotatePath, body); err != nil {
		return usage.ServerError(err)
	}
	fmt.Fprintln(io.Out, "certificates saved to datastore")
	return nil
}
