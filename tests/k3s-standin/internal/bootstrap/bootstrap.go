// Package bootstrap knows which files every server of a cluster shares (CAs, service-account key, encryption
// configuration, passwords), packs them into the bootstrap record and brings disk and record together at a start.
package bootstrap

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"time"

	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
	"hmco-boot/k3s-standin/internal/pki"
)

// File is one shared file in the record.
type File struct {
	Timestamp time.Time
	Content   []byte
}

// Record maps K3s' names (ServerCA, ServerCAKey, EncryptionConfig, EncryptionHash, PasswdFile ...) to files.
type Record map[string]File

// Names maps the record's names to the files' places.
func Names(p paths.Data) map[string]string {
	names := map[string]string{
		"ServerCA":           p.TLS("server-ca.crt"),
		"ServerCAKey":        p.TLS("server-ca.key"),
		"ClientCA":           p.TLS("client-ca.crt"),
		"ClientCAKey":        p.TLS("client-ca.key"),
		"RequestHeaderCA":    p.TLS("request-header-ca.crt"),
		"RequestHeaderCAKey": p.TLS("request-header-ca.key"),
		"ETCDServerCA":       p.TLS("etcd", "server-ca.crt"),
		"ETCDServerCAKey":    p.TLS("etcd", "server-ca.key"),
		"ETCDPeerCA":         p.TLS("etcd", "peer-ca.crt"),
		"ETCDPeerCAKey":      p.TLS("etcd", "peer-ca.key"),
		"ServiceKey":         p.TLS("service.key"),
		"PasswdFile":         p.Passwd(),
		"IPSECKey":           p.Cred("ipsec.psk"),
		"EncryptionConfig":   p.EncryptionConfig(),
		"EncryptionHash":     p.EncryptionState(),
	}
	if withoutEncryption.Load() {
		delete(names, "EncryptionConfig")
		delete(names, "EncryptionHash")
	}
	return names
}

// Collect reads the shared files from disk; a missing one is warned about (`failed to stat NAME: ...`).
func Collect(p paths.Data) (Record, error) {
	r := Record{}
	for name, file := range Names(p) {
		info, err := os.Stat(file)
		if err != nil {
			logx.Warnf("failed to stat %s: %v", name, err)
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("failed to read %s: %w", name, err)
		}
		r[name] = File{Timestamp: info.ModTime(), Content: data}
	}
	return r, nil
}

// Encode gives the JSON that is sealed.
func (r Record) Encode() ([]byte, error) { return json.Marshal(r) }

// Decode is the opposite of Encode.
func Decode(data []byte) (Record, error) {
	r := Record{}
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, err
	}
	return r, nil
}

// Write writes every file of the record to disk (0600; certificates 0644), whatever is there, with the record's times as
// modification times.
func (r Record) Write(p paths.Data) error {
	for name, file := range Names(p) {
		f, ok := r[name]
		if !ok {
			continue
		}
		mode := os.FileMode(0o600)
		if bytes.HasPrefix(f.Content, []byte("-----BEGIN CERTIFICATE")) {
			mode = 0o644
		}
		if err := pki.WriteFile(file, f.Content, mode); err != nil {
			return fmt.Errorf("failed to write to %s: %w", file, err)
		}
		if err := os.Chtimes(file, f.Timestamp, f.Timestamp); err != nil {
			return err
		}
	}
	return nil
}

// NewerError is what ends K3s when files on disk are newer than the datastore and differ from it.
type NewerError struct{ Files []string }

func (e *NewerError) Error() string {
	text := ""
	for i, f := range e.Files {
		if i > 0 {
			text += ", "
		}
		text += f
	}
	return text + " newer than datastore and could cause a cluster outage. Remove the file(s) from disk and restart to be recreated from datastore."
}

// Reconcile compares disk and record as K3s does at a start: files that are missing or older are written from the record,
// files that are newer and differ are a NewerError. With reset (cluster-reset) the record wins always. Files that the
// record does not have stay as they are.
func Reconcile(p paths.Data, r Record, reset bool) error {
	logx.Infof("Reconciling bootstrap data between datastore and disk")
	places := Names(p)
	for name := range r {
		if places[name] == "" {
			logx.Warnf("Unable to lookup path to reconcile %s", name)
		}
	}
	if reset {
		return nil
	}
	var newer []string
	update := false
	names := Names(p)
	for _, name := range sorted(names) {
		file := names[name]
		f, ok := r[name]
		if !ok {
			continue
		}
		info, err := os.Stat(file)
		if errors.Is(err, os.ErrNotExist) {
			logx.Warnf("%s doesn't exist. continuing...", file)
			update = true
			continue
		} else if err != nil {
			return err
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if bytes.Equal(data, f.Content) {
			continue
		}
		if info.ModTime().After(f.Timestamp) {
			newer = append(newer, file)
		} else {
			logx.Warnf("%s will be updated from the datastore.", file)
			update = true
		}
	}
	if len(newer) > 0 {
		return &NewerError{Files: newer}
	}
	if !update {
		return nil
	}
	logx.Warnf("Updating bootstrap data on disk from datastore")
	return r.Write(p)
}

func sorted(m map[string]string) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
