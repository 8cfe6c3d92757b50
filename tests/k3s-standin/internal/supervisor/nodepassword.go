package supervisor

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/scrypt"
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

// hashPassword gives `$1:<salt>:15:8:1:<base64 of scrypt>`.
func hashPassword(password string) (string, error) {
	salt := make([]byte, 8)
	_, _ = rand.Read(salt)
	key, err := scrypt.Key([]byte(password), salt, 1<<15, 8, 1, 64)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("$1:%s:15:8:1:%s", hex.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key)), nil
}

func samePassword(hash, password string) bool {
	f := strings.Split(hash, ":")
	if len(f) != 6 {
		return false
	}
	salt, err := hex.DecodeString(f[1])
	if err != nil {
		return false
	}
	want, err := base64.RawStdEncoding.DecodeString(f[5])
	if err != nil {
		return false
	}
	key, err := scrypt.Key([]byte(password), salt, 1<<15, 8, 1, 64)
	return err == nil && subtle.ConstantTimeCompare(key, want) == 1
}

// EnsureNodePassword reads /etc/rancher/node/password, or makes it: 32 hex digits and a newline, 0600.
func EnsureNodePassword() (string, error) {
	data, err := os.ReadFile(paths.NodePassword)
	if err == nil {
		return strings.TrimSpace(string(data)), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	random := make([]byte, 16)
	_, _ = rand.Read(random)
	password := hex.EncodeToString(random)
	if err := os.MkdirAll(filepath.Dir(paths.NodePassword), 0o755); err != nil {
		return "", err
	}
	return password, os.WriteFile(paths.NodePassword, []byte(password+"\n"), 0o600)
}
