// Package bootstrap knows which files every server of a cluster shares (CAs, service-account key, encryption
// configuration, passwords), packs them into the bootstrap record and brings disk and record together at a start.
package bootstrap

import (
	"time"

	"hmco-boot/k3s-standin/internal/paths"
)

// File is one shared file in the record.
type File struct {
	Timestamp time.Time
	Content   []byte
}

// Record maps K3s' names (ServerCA, ServerCAKey, EncryptionConfig, EncryptionHash, PasswdFile ...) to files.
type Record map[string]File

// Names maps the record's names to the files' places.
func Names(p paths.Data) map[string]string { return nil }

// Collect reads the shared files from disk; a missing one is warned about (`failed to stat NAME: ...`).
func Collect(p paths.Data) (Record, error) { return nil, nil }

// Encode and Decode turn a record into the JSON that is sealed, and back.
func (r Record) Encode() ([]byte, error) { return nil, nil }

// Decode is the opposite of Encode.
func Decode(data []byte) (Record, error) { return nil, nil }

// Write writes every file of the record to disk (0600), whatever is there; with the record's times as modification times.
func (r Record) Write(p paths.Data) error { return nil }

// Reconcile compares disk and record as K3s does at a start: files that are missing or older are written from the record,
// files that are newer and differ are an error (K3s exits: "... newer than datastore ..."). With reset (cluster-reset)
// the record wins always.
func Reconcile(p paths.Data, r Record, reset bool) error { return nil }
