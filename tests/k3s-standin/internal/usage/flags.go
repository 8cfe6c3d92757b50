package usage

import (
	"os"
	"strings"

	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/paths"
)

// DefaultServer is where the commands look for the supervisor.
const DefaultServer = "https://127.0.0.1:6443"

// DataDir is the flag of the data folder.
var DataDir = config.Flag{
	Names: []string{"data-dir", "d"}, Env: "K3S_DATA_DIR",
	Usage: "(data) Folder to hold state default /var/lib/rancher/k3s or ${HOME}/.rancher/k3s if not root",
}

// Server is the flag of the server to talk to.
var Server = config.Flag{
	Names: []string{"server", "s"}, Default: DefaultServer, Env: "K3S_URL",
	Usage: "(cluster) Server to connect to",
}

// Paths returns the data folder's paths.
func Paths(v *config.Values) paths.Data { return paths.New(v.Text("data-dir")) }

// Token returns the token given, or the one in server/token.
func Token(given string, p paths.Data) (string, error) {
	if given != "" {
		return given, nil
	}
	data, err := os.ReadFile(p.Token())
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(data)), nil
}

// ServerError gives an error of a supervisor call the words K3s puts before it. What went wrong before the call itself
// (getting the CA, comparing its hash) stays as it is.
func ServerError(err error) error {
	if err == nil || beforeCall(err) {
		return err
	}
	return &serverError{err}
}

type serverError struct{ cause error }

func (e *serverError) Error() string { return "see server log for details: " + e.cause.Error() }
func (e *serverError) Unwrap() error { return e.cause }

func beforeCall(err error) bool {
	text := err.Error()
	return strings.HasPrefix(text, "failed to get CA certs:") || strings.HasPrefix(text, "token CA hash does not match") ||
		strings.HasPrefix(text, "token format must be")
}
