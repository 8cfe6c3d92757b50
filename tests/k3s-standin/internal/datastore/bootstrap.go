package datastore

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrOtherToken is what a server meets whose token is not the one that sealed the bootstrap record.
var ErrOtherToken = errors.New("bootstrap data already found and encrypted with different token")

const bootstrapPrefix = "/bootstrap/"

// BootstrapKey is the etcd key of the record: /bootstrap/<first 12 hex digits of sha256(password)>.
func BootstrapKey(password string) string { return bootstrapPrefix + TokenHash(password) }

// TokenHash is the first 12 hex digits of sha256(password), as snapshots carry it.
func TokenHash(password string) string {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:])[:12]
}

// Seal encrypts data with the token's password: `<salt>:<base64 of nonce and AES-256-GCM>`; the key is
// PBKDF2-HMAC-SHA1(password, salt, 4096 rounds, 32 bytes).
func Seal(password string, data []byte) (string, error) {
	random := make([]byte, 8)
	_, _ = rand.Read(random)
	salt := hex.EncodeToString(random)
	aead, err := aeadOf(password, salt)
	if err != nil {
		return "", err
	}
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce)
	return salt + ":" + base64.StdEncoding.EncodeToString(aead.Seal(nonce, nonce, data, nil)), nil
}

// Unseal is the opposite of Seal.
func Unseal(password, sealed string) ([]byte, error) {
	salt, text, ok := strings.Cut(sealed, ":")
	if !ok {
		return nil, errors.New("invalid cipher text, not : delimited")
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	aead, err := aeadOf(password, salt)
	if err != nil {
		return nil, err
	}
	if len(data) < aead.NonceSize() {
		return nil, errors.New("invalid cipher text, too short")
	}
	return aead.Open(nil, data[:aead.NonceSize()], data[aead.NonceSize():], nil)
}

func aeadOf(password, salt string) (cipher.AEAD, error) {
	key, err := pbkdf2.Key(sha1.New, password, []byte(salt), 4096, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// LoadBootstrap reads the record sealed with password: its bytes and its etcd revision; nil data when there is no
// record at all, ErrOtherToken when there is only one of another token.
func LoadBootstrap(ctx context.Context, c *clientv3.Client, password string) (data []byte, revision int64, err error) {
	got, err := c.Get(ctx, bootstrapPrefix, clientv3.WithPrefix())
	if err != nil {
		return nil, 0, err
	}
	other := false
	for _, kv := range got.Kvs {
		if string(kv.Key) != BootstrapKey(password) {
			other = true
			continue
		}
		data, err := Unseal(password, string(kv.Value))
		return data, kv.ModRevision, err
	}
	if other {
		return nil, 0, ErrOtherToken
	}
	return nil, 0, nil
}

// SaveBootstrap writes the record. With create it only writes when none is there and returns created=false otherwise;
// a record of another token is ErrOtherToken in both cases.
func SaveBootstrap(ctx context.Context, c *clientv3.Client, password string, data []byte, create bool) (created bool, err error) {
	old, _, err := LoadBootstrap(ctx, c, password)
	if err != nil {
		return false, err
	}
	if old != nil && create {
		return false, nil
	}
	sealed, err := Seal(password, data)
	if err != nil {
		return false, err
	}
	key := BootstrapKey(password)
	if !create {
		_, err := c.Put(ctx, key, sealed)
		return old == nil, err
	}
	done, err := c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).Then(clientv3.OpPut(key, sealed)).Commit()
	if err != nil {
		return false, err
	}
	return done.Succeeded, nil
}

// RekeyBootstrap moves the record from one password to another in one transaction (token rotate).
func RekeyBootstrap(ctx context.Context, c *clientv3.Client, oldPassword, newPassword string, data []byte) error {
	sealed, err := Seal(newPassword, data)
	if err != nil {
		return err
	}
	ops := []clientv3.Op{clientv3.OpPut(BootstrapKey(newPassword), sealed)}
	if oldPassword != newPassword {
		ops = append(ops, clientv3.OpDelete(BootstrapKey(oldPassword)))
	}
	_, err = c.Txn(ctx).Then(ops...).Commit()
	return err
}
