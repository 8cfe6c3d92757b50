package node

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const hashRounds = 4096

// errHash is a node password that is not the one the cluster knows.
var errHash = errors.New("hash does not match")

// passwordSecret is the name of the Secret with the hash of a node's password.
func passwordSecret(node string) string { return node + ".node-password.k3s" }

// ownPassword reads the node's password, or makes it: 32 hex digits and a newline.
func ownPassword(file string) (string, error) {
	data, err := os.ReadFile(file)
	if err == nil {
		return strings.TrimSpace(string(data)), nil
	}
	if !os.IsNotExist(err) {
		return "", err
	}
	var raw [16]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return "", err
	}
	password := hex.EncodeToString(raw[:])
	if err := os.MkdirAll(dir(file), 0o755); err != nil {
		return "", err
	}
	return password, os.WriteFile(file, []byte(password+"\n"), 0o600)
}

func dir(file string) string { return file[:strings.LastIndexByte(file, '/')] }

func hashOf(password string, salt []byte) (string, error) {
	key, err := pbkdf2.Key(sha256.New, password, salt, hashRounds, sha256.Size)
	if err != nil {
		return "", err
	}
	return "$1:" + hex.EncodeToString(salt) + ":" + hex.EncodeToString(key), nil
}

func matches(hash, password string) bool {
	parts := strings.Split(hash, ":")
	if len(parts) != 3 {
		return false
	}
	salt, err := hex.DecodeString(parts[1])
	if err != nil {
		return false
	}
	want, err := hashOf(password, salt)
	return err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(hash)) == 1
}

// ensurePassword checks a node's password against its Secret; a node that is
// not known yet is made known. With overwrite an other password is replaced
// (the server's own node, whose password was verified by its file).
func ensurePassword(ctx context.Context, client kubernetes.Interface, node, password string, overwrite bool) error {
	secrets := client.CoreV1().Secrets(metav1.NamespaceSystem)
	have, err := secrets.Get(ctx, passwordSecret(node), metav1.GetOptions{})
	switch {
	case err == nil && matches(string(have.Data["hash"]), password):
		return nil
	case err == nil && !overwrite:
		return errHash
	case err == nil:
		if err := secrets.Delete(ctx, have.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	case !apierrors.IsNotFound(err):
		return err
	}
	var salt [8]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return err
	}
	hash, err := hashOf(password, salt[:])
	if err != nil {
		return err
	}
	immutable := true
	_, err = secrets.Create(ctx, &v1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: passwordSecret(node), Namespace: metav1.NamespaceSystem},
		Immutable:  &immutable, Data: map[string][]byte{"hash": []byte(hash)},
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("node password of %s: %w", node, err)
	}
	return err
}
