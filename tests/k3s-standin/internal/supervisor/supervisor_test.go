package supervisor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
)

func made(t *testing.T) *Supervisor {
	t.Helper()
	p := paths.New(t.TempDir())
	if err := os.MkdirAll(p.Cred(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.Passwd(), []byte("agentpw,node,node,k3s:agent\nserverpw,server,server,k3s:server\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := New()
	if err := s.LoadUsers(p); err != nil {
		t.Fatal(err)
	}
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	s.Handle("/ping", Anyone, ok)
	s.Handle("/db/info", LocalOrServer, ok)
	s.Handle("/v1-k3s/encrypt/status", ServerToken, ok)
	s.Handle("/v1-k3s/config", NodeToken, ok)
	s.Handle("/static/", Anyone, ok)
	s.SetStarted()
	return s
}

func ask(t *testing.T, s *Supervisor, path, from, user, password string) (int, map[string]any, string) {
	t.Helper()
	var b bytes.Buffer
	defer logx.SetOutput(logx.SetOutput(&b))
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.RemoteAddr = from
	if user != "" {
		r.SetBasicAuth(user, password)
	}
	w := httptest.NewRecorder()
	s.serve(w, r)
	st := map[string]any{}
	_ = json.Unmarshal(w.Body.Bytes(), &st)
	return w.Code, st, b.String()
}

const away, here = "172.30.7.14:50530", "127.0.0.1:40000"

func TestCallersAreLetInAsRecorded(t *testing.T) {
	s := made(t)
	for _, c := range []struct {
		path, from, user, password string
		code                       int
	}{
		{"/ping", away, "", "", 200},
		{"/ping", away, "server", "wrong", 200},
		{"/static/charts/x.tgz", away, "", "", 200},
		{"/db/info", here, "server", "wrong", 200},
		{"/db/info", away, "", "", 403},
		{"/db/info", away, "server", "serverpw", 200},
		{"/v1-k3s/encrypt/status", here, "", "", 403},
		{"/v1-k3s/encrypt/status", here, "server", "serverpw", 200},
		{"/v1-k3s/encrypt/status", here, "server", "wrong", 401},
		{"/v1-k3s/encrypt/status", here, "node", "agentpw", 403},
		{"/v1-k3s/config", here, "server", "serverpw", 403},
		{"/v1-k3s/config", here, "node", "agentpw", 200},
		{"/v1-k3s/nosuch", here, "", "", 403},
		{"/v1-k3s/nosuch", here, "node", "agentpw", 404},
		{"/readyz", here, "", "", 503},
	} {
		if code, st, _ := ask(t, s, c.path, c.from, c.user, c.password); code != c.code {
			t.Errorf("%s from %s as %s:%s: %d %v", c.path, c.from, c.user, c.password, code, st)
		}
	}
}

func TestRefusalsAreStatusObjectsAndLogLinesAsRecorded(t *testing.T) {
	s := made(t)
	_, st, log := ask(t, s, "/v1-k3s/config", away, "server", "wrong")
	if st["message"] != "not authorized" || st["reason"] != "Unauthorized" || st["kind"] != "Status" || st["apiVersion"] != nil {
		t.Errorf("%v", st)
	}
	for _, want := range []string{
		`level=error msg="Failed to authenticate request from 172.30.7.14:50530: invalid username/password combination"`,
		`level=error msg="Sending HTTP/1.1 401 response to 172.30.7.14:50530: not authorized"`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("no %s in\n%s", want, log)
		}
	}
	_, st, _ = ask(t, s, "/readyz", here, "", "")
	if st["message"] != "apiserver not ready" || st["reason"] != "ServiceUnavailable" {
		t.Errorf("%v", st)
	}
	before := New()
	code, st, log := ask(t, before, "/ping", here, "", "")
	if code != 503 || st["message"] != "starting" || !strings.Contains(log, "Sending HTTP/1.1 503 response to 127.0.0.1:40000: starting") {
		t.Errorf("%d %v %s", code, st, log)
	}
}

func TestAnInternalErrorNamesItsCause(t *testing.T) {
	defer logx.SetOutput(logx.SetOutput(io.Discard))
	w := httptest.NewRecorder()
	SendError(errors.New("failed to get etcd MemberList: context deadline exceeded"), w, httptest.NewRequest(http.MethodGet, "/db/info", nil), 500)
	want := `{
  "kind": "Status",
  "metadata": {},
  "status": "Failure",
  "message": "Internal error occurred: failed to get etcd MemberList: context deadline exceeded",
  "reason": "InternalError",
  "details": {
    "causes": [
      {
        "message": "failed to get etcd MemberList: context deadline exceeded"
      }
    ]
  },
  "code": 500
}`
	if w.Code != 500 || w.Body.String() != want {
		t.Errorf("%d\n%s", w.Code, w.Body)
	}
}

func TestTheAPIServerGetsWhatIsNotTheSupervisors(t *testing.T) {
	s := made(t)
	s.SetAPIServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "api "+r.URL.Path) }))
	r := httptest.NewRequest(http.MethodGet, "/readyz", nil)
	w := httptest.NewRecorder()
	s.serve(w, r)
	if w.Body.String() != "api /readyz" {
		t.Errorf("%s", w.Body)
	}
}

func TestTokensAreTakenApart(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	for text, want := range map[string]Token{
		"short":                          {Password: "short"},
		"K10" + hash + "::server:a:b":    {CAHash: hash, User: "server", Password: "a:b"},
		"K10" + hash + "::node:secret\n": {CAHash: hash, User: "node", Password: "secret"},
	} {
		if got, err := ParseToken(text); err != nil || got != want {
			t.Errorf("%q: %+v %v", text, got, err)
		}
	}
	for _, bad := range []string{"K10abc::server:x", "K10" + hash + "server:x", "K10" + hash + "::server"} {
		if _, err := ParseToken(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestAWrongCAHashIsRefusedAsRecorded(t *testing.T) {
	const ca = "-----BEGIN CERTIFICATE-----\nnot one\n-----END CERTIFICATE-----\n"
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, ca) }))
	defer srv.Close()
	sum := sha256.Sum256([]byte(ca))
	have, wrong := hex.EncodeToString(sum[:]), strings.Repeat("0", 64)
	_, err := Connect(context.Background(), srv.URL, "K10"+wrong+"::server:x", "server", true)
	if err == nil || err.Error() != "token CA hash does not match the Cluster CA certificate hash: "+wrong+" != "+have {
		t.Errorf("got %v", err)
	}
}

func TestNodePasswordsMatchOnlyThemselves(t *testing.T) {
	hash, err := hashPassword("0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	if !samePassword(hash, "0123456789abcdef") || samePassword(hash, "other") || samePassword("", "") {
		t.Errorf("%s", hash)
	}
}
