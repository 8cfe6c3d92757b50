// Package paths knows where everything lies below K3s' data folder and in /etc/rancher. It touches no file.
package paths

import "path/filepath"

// The fixed places outside the data folder.
const (
	DefaultDataDir    = "/var/lib/rancher/k3s"
	DefaultConfig     = "/etc/rancher/k3s/config.yaml"
	DefaultKubeconfig = "/etc/rancher/k3s/k3s.yaml"
	NodePassword      = "/etc/rancher/node/password"
)

// Data is the data folder (`--data-dir`), /var/lib/rancher/k3s unless told otherwise.
type Data struct{ Dir string }

// New returns the paths below dir; an empty dir means the default.
func New(dir string) Data {
	if dir == "" {
		dir = DefaultDataDir
	}
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return Data{Dir: dir}
}

// Server returns a path below server/.
func (d Data) Server(elem ...string) string {
	return filepath.Join(append([]string{d.Dir, "server"}, elem...)...)
}

// Agent returns a path below agent/.
func (d Data) Agent(elem ...string) string {
	return filepath.Join(append([]string{d.Dir, "agent"}, elem...)...)
}

// TLS returns a path below server/tls, for example TLS("etcd", "client.crt").
func (d Data) TLS(elem ...string) string { return d.Server(append([]string{"tls"}, elem...)...) }

// Cred returns a path below server/cred.
func (d Data) Cred(elem ...string) string { return d.Server(append([]string{"cred"}, elem...)...) }

// DB returns a path below server/db.
func (d Data) DB(elem ...string) string { return d.Server(append([]string{"db"}, elem...)...) }

// Etcd returns a path below server/db/etcd.
func (d Data) Etcd(elem ...string) string { return d.DB(append([]string{"etcd"}, elem...)...) }

// Snapshots is the default folder of snapshots.
func (d Data) Snapshots() string { return d.DB("snapshots") }

// Manifests returns a path below server/manifests.
func (d Data) Manifests(elem ...string) string {
	return d.Server(append([]string{"manifests"}, elem...)...)
}

// Token is the file with the full server token.
func (d Data) Token() string { return d.Server("token") }

// Passwd is the file of the basic-auth users: lines `password,user,uid,group`.
func (d Data) Passwd() string { return d.Cred("passwd") }

// EncryptionConfig is the apiserver's encryption provider configuration.
func (d Data) EncryptionConfig() string { return d.Cred("encryption-config.json") }

// EncryptionState is the file with `<stage>-<sha256 of the configuration>`.
func (d Data) EncryptionState() string { return d.Cred("encryption-state.json") }

// ResetFlag is the file that says that a cluster-reset has been done and no normal start since.
func (d Data) ResetFlag() string { return d.DB("reset-flag") }
