package certs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"hmco-boot/k3s-standin/internal/bootstrap"
	"hmco-boot/k3s-standin/internal/datastore"
	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
	"hmco-boot/k3s-standin/internal/supervisor"
)

const (
	rotatePath  = "/v1-k3s/cert/cacerts"
	rotateLimit = 20 * time.Second
)

// rotateRequest is the body of the call: the staged files.
type rotateRequest struct {
	Record bootstrap.Record `json:"record"`
	Force  bool             `json:"force,omitempty"`
}

// authorityNames are the record's names that a rotation may replace.
var authorityNames = []string{
	"ServerCA", "ServerCAKey", "ClientCA", "ClientCAKey", "RequestHeaderCA", "RequestHeaderCAKey",
	"ETCDServerCA", "ETCDServerCAKey", "ETCDPeerCA", "ETCDPeerCAKey", "ServiceKey",
}

// authorityFiles are their places in a staging folder: FOLDER/tls/server-ca.crt and so on.
func authorityFiles(staged paths.Data) map[string]string {
	out := map[string]string{}
	all := bootstrap.Names(staged)
	for _, name := range authorityNames {
		rest, err := filepath.Rel(staged.Server(), all[name])
		if err == nil {
			out[name] = filepath.Join(staged.Dir, rest)
		}
	}
	return out
}

// Register adds the call to the supervisor.
func Register(s *supervisor.Supervisor, d supervisor.Deps) {
	s.Handle(rotatePath, supervisor.ServerToken, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut {
			supervisor.SendError(errors.New("method not allowed"), w, r, http.StatusMethodNotAllowed)
			return
		}
		var req rotateRequest
		err := json.NewDecoder(r.Body).Decode(&req)
		if err == nil {
			ctx, cancel := context.WithTimeout(r.Context(), rotateLimit)
			defer cancel()
			err = replace(ctx, d, req)
		}
		if err != nil {
			id := fmt.Sprintf("certificate error ID %05d", rand.IntN(100000))
			logx.Errorf("%s: %v", id, err)
			supervisor.SendError(errors.New(id), w, r, http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusOK)
	}))
}

// replace writes the staged files into the bootstrap record; servers take them from there when they start. Files are
// compared only roughly: self-signed CAs need force, as the documents say.
func replace(ctx context.Context, d supervisor.Deps, req rotateRequest) error {
	if len(req.Record) == 0 {
		return nil
	}
	store := d.Store()
	if store == nil {
		return errors.New("runtime core not ready")
	}
	data, _, err := datastore.LoadBootstrap(ctx, store.Client(), d.Password())
	if err != nil {
		return err
	}
	record, err := bootstrap.Decode(data)
	if err != nil {
		return err
	}
	for name, file := range req.Record {
		old := record[name]
		if bytes.Equal(old.Content, file.Content) {
			continue
		}
		if !req.Force && strings.HasSuffix(name, "CA") && !bytes.Contains(file.Content, bytes.TrimSpace(old.Content)) {
			return fmt.Errorf("new %s does not contain the old one: cross-sign the new CA or use --force", name)
		}
		record[name] = bootstrap.File{Timestamp: time.Now(), Content: file.Content}
	}
	if data, err = record.Encode(); err != nil {
		return err
	}
	_, err = datastore.SaveBootstrap(ctx, store.Client(), d.Password(), data, false)
	return err
}
