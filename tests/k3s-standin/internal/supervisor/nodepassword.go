package supervisor

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
)

// NodePasswords checks nodes' passwords against the Secrets kube-system/NODE.node-password.k3s, and makes the Secret of a
// node that comes for the first time.
type NodePasswords struct {
	Own  string // the server's own node name: checked against the local file until the apiserver is ready
	Deps Deps
	file string
}

// NewNodePasswords makes the check for a server whose own node is named own.
func NewNodePasswords(own string, d Deps) *NodePasswords {
	return &NodePasswords{Own: own, Deps: d, file: paths.NodePassword}
}

// Verify says with an error and its HTTP code why a node is refused.
func (n *NodePasswords) Verify(ctx context.Context, name, password string) (int, error) {
	if name == "" || password == "" {
		return http.StatusBadRequest, errors.New("node name and password are required")
	}
	if !closed(n.Deps.Ready) {
		if name == n.Own && n.sameAsFile(password) {
			logx.Infof("Password verified locally for node %s", name)
			go n.later(name, password)
			return 0, nil
		}
		return http.StatusServiceUnavailable, errNotReady
	}
	if err := n.ensure(ctx, name, password); err != nil {
		var mismatch *mismatchError
		if errors.As(err, &mismatch) {
			return http.StatusForbidden, fmt.Errorf("unable to verify password for node %s: %w", name, err)
		}
		return http.StatusInternalServerError, fmt.Errorf("unable to verify password for node %s: %w", name, err)
	}
	return 0, nil
}

// later makes the own node's Secret once the apiserver is ready.
func (n *NodePasswords) later(name, password string) {
	<-n.Deps.Ready
	for range 60 {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := n.ensure(ctx, name, password)
		cancel()
		var mismatch *mismatchError
		if err == nil {
			return
		}
		if errors.As(err, &mismatch) {
			logx.Errorf("unable to verify password for node %s: %v", name, err)
			return
		}
		time.Sleep(time.Second)
	}
}

func (n *NodePasswords) sameAsFile(password string) bool {
	data, err := os.ReadFile(n.file)
	return err == nil && subtle.ConstantTimeCompare([]byte(strings.TrimSpace(string(data))), []byte(password)) == 1
}

type mismatchError struct{}

func (*mismatchError) Error() string { return "hash does not match" }

func (n *NodePasswords) ensure(ctx context.Context, name, password string) error {
	admin, err := n.Deps.Admin()
	if err != nil {
		return err
	}
	c, err := kubernetes.NewForConfig(admin)
	if err != nil {
		return err
	}
	secrets := c.CoreV1().Secrets("kube-system")
	have, err := secrets.Get(ctx, SecretName(name), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		hash, err := hashPassword(password)
		if err != nil {
			return err
		}
		immutable := true
		_, err = secrets.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: SecretName(name), Namespace: "kube-system"},
			Immutable:  &immutable,
			Data:       map[string][]byte{"hash": []byte(hash)},
		}, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	if !samePassword(string(have.Data["hash"]), password) {
		return &mismatchError{}
	}
	return nil
}

// SecretName is the name of a node's password Secret in kube-system.
func SecretName(node string) string { return strings.ToLower(node) + ".node-password.k3s" }

// hashRounds of PBKDF2: the passwords are random, and a start must not wait for them.
const hashRounds = 4096

// hashPassword gives `$1:<salt>:<hex of PBKDF2-HMAC-SHA256>`, the form package node checks too.
func hashPassword(password string) (string, error) {
	salt := make([]byte, 8)
	_, _ = rand.Read(salt)
	return saltedHash(password, salt)
}

func saltedHash(password string, salt []byte) (string, error) {
	key, err := pbkdf2.Key(sha256.New, password, salt, hashRounds, sha256.Size)
	if err != nil {
		return "", err
	}
	return "$1:" + hex.EncodeToString(salt) + ":" + hex.EncodeToString(key), nil
}

func samePassword(hash, password string) bool {
	f := strings.Split(hash, ":")
	if len(f) != 3 {
		return false
	}
	salt, err := hex.DecodeString(f[1])
	if err != nil {
		return false
	}
	want, err := saltedHash(password, salt)
	return err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(hash)) == 1
}
