// Package token is K3s' care for tokens: the rotation of the server token on a running server, `k3s token` with its
// bootstrap tokens, and the command itself. Who may call with which token is the supervisor's business: a running server
// goes on accepting the old one.
package token

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"hmco-boot/k3s-standin/internal/bootstrap"
	"hmco-boot/k3s-standin/internal/datastore"
	"hmco-boot/k3s-standin/internal/faults"
	"hmco-boot/k3s-standin/internal/paths"
	"hmco-boot/k3s-standin/internal/pki"
	"hmco-boot/k3s-standin/internal/supervisor"
)

// tokenPath is the supervisor's call.
const tokenPath = "/v1-k3s/token"

const rotateLimit = time.Minute

// request is the body of PUT /v1-k3s/token.
type request struct {
	NewToken string `json:"newToken,omitempty"`
}

// bootstrapForm is the form of `k3s token generate`: as a server token it leaves the cluster degraded.
var bootstrapForm = regexp.MustCompile(`^[a-z0-9]{6}\.[a-z0-9]{16}$`)

// Register adds the call to the supervisor.
func Register(s *supervisor.Supervisor, d supervisor.Deps) {
	s.Handle(tokenPath, supervisor.ServerToken, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut {
			supervisor.SendError(errors.New("method not allowed"), w, r, http.StatusMethodNotAllowed)
			return
		}
		var req request
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			supervisor.SendError(err, w, r, http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), rotateLimit)
		defer cancel()
		if err := rotate(ctx, d, req.NewToken); err != nil {
			supervisor.SendError(err, w, r, http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusOK)
	}))
}

// rotate gives the cluster a new server token: this server's files, then the bootstrap record, sealed anew under another
// key. The other servers' files, and what all running servers accept, do not change.
func rotate(ctx context.Context, d supervisor.Deps, text string) error {
	if text == "" {
		random := make([]byte, 16)
		if _, err := rand.Read(random); err != nil {
			return err
		}
		text = hex.EncodeToString(random)
	}
	parsed, err := supervisor.ParseToken(text)
	if err != nil {
		return err
	}
	store := d.Store()
	if store == nil {
		return errors.New("token rotation is only supported with embedded etcd")
	}
	if err := writePasswords(d.Paths, parsed.Password); err != nil {
		return err
	}
	if err := faults.At("token-rotate.passwords"); err != nil {
		return err
	}
	record, err := bootstrap.Collect(d.Paths)
	if err != nil {
		return err
	}
	data, err := record.Encode()
	if err != nil {
		return err
	}
	old, err := currentPassword(d)
	if err != nil {
		return err
	}
	if err := datastore.RekeyBootstrap(ctx, store.Client(), old, parsed.Password, data); err != nil {
		return err
	}
	if err := faults.At("token-rotate.rekeyed"); err != nil {
		return err
	}
	if bootstrapForm.MatchString(parsed.Password) {
		return errors.New("failed to normalize server token; must be in format K10<CA-HASH>::<USERNAME>:<PASSWORD> or <PASSWORD>")
	}
	return writeToken(d.Paths, parsed.Password)
}

// currentPassword is the one that seals the record: after an earlier rotation without a restart not the one this process
// was started with.
func currentPassword(d supervisor.Deps) (string, error) {
	data, err := os.ReadFile(d.Paths.Token())
	if errors.Is(err, os.ErrNotExist) {
		return d.Password(), nil
	} else if err != nil {
		return "", err
	}
	parsed, err := supervisor.ParseToken(string(data))
	return parsed.Password, err
}

// writePasswords changes the password of server, and of node when there is no own agent token, in cred/passwd.
func writePasswords(p paths.Data, password string) error {
	data, err := os.ReadFile(p.Passwd())
	if err != nil {
		return err
	}
	old, err := os.ReadFile(p.Token())
	if err != nil {
		return err
	}
	before, err := supervisor.ParseToken(string(old))
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	for i, line := range lines {
		had, rest, ok := strings.Cut(line, ",")
		if ok && had == before.Password {
			lines[i] = password + "," + rest
		}
	}
	return pki.WriteFile(p.Passwd(), []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

func writeToken(p paths.Data, password string) error {
	hash, err := pki.Fingerprint(p.TLS("server-ca.crt"))
	if err != nil {
		return err
	}
	return pki.WriteFile(p.Token(), []byte(supervisor.FullToken(hash, "server", password)+"\n"), 0o600)
}

const tokenLetters = "abcdefghijklmnopqrstuvwxyz0123456789"

// generate makes a token in the form of `k3s token generate`.
func generate() (string, error) {
	id, err := letters(6)
	if err != nil {
		return "", err
	}
	secret, err := letters(16)
	return id + "." + secret, err
}

func letters(count int) (string, error) {
	out := make([]byte, count)
	for i := range out {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(tokenLetters))))
		if err != nil {
			return "", fmt.Errorf("making a token: %w", err)
		}
		out[i] = tokenLetters[n.Int64()]
	}
	return string(out), nil
}
