package supervisor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"hmco-boot/k3s-standin/internal/logx"
)

// Token is a parsed join token.
type Token struct {
	CAHash   string // of a full token; empty for a short one
	User     string // "server" or "node" when the token names one
	Password string
}

// ParseToken takes a short (`PASSWORD`) or full (`K10<sha256>::user:PASSWORD`) token apart.
func ParseToken(text string) (Token, error) {
	text = strings.TrimSpace(text)
	if !strings.HasPrefix(text, "K10") {
		return Token{Password: text}, nil
	}
	hash, rest, ok := strings.Cut(strings.TrimPrefix(text, "K10"), "::")
	if !ok {
		return Token{}, errors.New("invalid token format")
	}
	if len(hash) != sha256.Size*2 {
		return Token{}, errors.New("invalid token CA hash length")
	}
	user, password, ok := strings.Cut(rest, ":")
	if !ok {
		return Token{}, errors.New("invalid token format")
	}
	return Token{CAHash: hash, User: user, Password: password}, nil
}

// FullToken is the full form of a token.
func FullToken(caHash, user, password string) string {
	return "K10" + caHash + "::" + user + ":" + password
}

// Client makes calls to a supervisor whose CA was fetched and, with a full token, checked.
type Client struct {
	Server string
	User   string
	Token  Token
	CA     []byte
	http   *http.Client
}

// Connect fetches the server's CA certificates and checks them against the token; user is "server" or "node". With a
// token that has no hash, warn says whether K3s' warning about it is printed.
func Connect(ctx context.Context, server, token, user string, warn bool) (*Client, error) {
	t, err := ParseToken(token)
	if err != nil {
		return nil, err
	}
	c := &Client{Server: strings.TrimSuffix(server, "/"), User: user, Token: t}
	insecure := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true, //nolint:gosec // the CA is what is fetched
	}}
	ca, err := fetch(ctx, insecure, c.Server+"/cacerts")
	if err != nil {
		return nil, fmt.Errorf("failed to get CA certs: %w", err)
	}
	c.CA = ca
	if t.CAHash != "" {
		sum := sha256.Sum256(ca)
		if have := hex.EncodeToString(sum[:]); have != t.CAHash {
			return nil, fmt.Errorf("token CA hash does not match the Cluster CA certificate hash: %s != %s", t.CAHash, have)
		}
	} else if warn {
		logx.Warnf("Cluster CA certificate is not trusted by the host CA bundle, but the token does not include a CA hash. Use the full token from the server's node-token file to enable Cluster CA validation.")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, errors.New("failed to get CA certs: no certificate in the answer")
	}
	c.http = &http.Client{Timeout: 90 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
	}}
	return c, nil
}

func fetch(ctx context.Context, h *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := h.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read-only
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, message(data, resp.Status))
	}
	return data, err
}

// CallError is an answer that is not 2xx; its text is the Status' message.
type CallError struct {
	Code    int
	Message string
}

func (e *CallError) Error() string { return e.Message }

// Do makes one call. Errors of the connection read as Go's ("Get \"https://...\": EOF"), other answers are *CallError.
func (c *Client) Do(ctx context.Context, method, path string, body []byte, headers map[string]string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.Server+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth(c.User, c.Token.Password)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read-only
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		return nil, &CallError{Code: resp.StatusCode, Message: message(data, resp.Status)}
	}
	return data, nil
}

func message(body []byte, otherwise string) string {
	var st struct{ Message string }
	if json.Unmarshal(body, &st) == nil && st.Message != "" {
		return st.Message
	}
	return otherwise
}

// Call makes one supervisor call with basic auth `server:PASSWORD` and returns the body; for the command-line side.
// method and path as in "PUT", "/v1-k3s/encrypt/config"; the token may be short or full (then the server's CA is checked
// against its hash). The warning about a token without hash is printed as K3s does.
func Call(ctx context.Context, server, token, method, path string, body []byte) ([]byte, error) {
	c, err := Connect(ctx, server, token, "server", true)
	if err != nil {
		return nil, err
	}
	return c.Do(ctx, method, path, body, nil)
}
