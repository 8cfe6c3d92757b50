package datastore

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrOtherToken is what a server meets whose token is not the one that sealed the bootstrap record.
var ErrOtherToken = errors.New("bootstrap data already found and encrypted with different token")

// BootstrapKey is the etcd key of the record: /bootstrap/<first 12 hex digits of sha256(password)>.
func BootstrapKey(password string) string { return "" }

// Seal encrypts data with the token's password: `<salt>:<base64 of nonce and AES-256-GCM>`.
func Seal(password string, data []byte) (string, error) { return "", nil }

// Unseal is the opposite of Seal.
func Unseal(password, sealed string) ([]byte, error) { return nil, nil }

// LoadBootstrap reads the record sealed with password: its bytes and its etcd revision; nil data when there is no
// record at all, ErrOtherToken when there is only one of another token.
func LoadBootstrap(ctx context.Context, c *clientv3.Client, password string) (data []byte, revision int64, err error) {
	return nil, 0, nil
}

// SaveBootstrap writes the record. With create it only writes when none is there and returns created=false otherwise.
func SaveBootstrap(ctx context.Context, c *clientv3.Client, password string, data []byte, create bool) (created bool, err error) {
	return false, nil
}

// RekeyBootstrap moves the record from one password to another in one transaction (token rotate).
func RekeyBootstrap(ctx context.Context, c *clientv3.Client, oldPassword, newPassword string, data []byte) error {
	return nil
}
