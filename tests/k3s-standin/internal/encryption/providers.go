package encryption

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// The name of the first key of a cluster; later ones carry their time behind it.
const firstKeyName = "aescbckey"

// keyBytes is the length of an AES-256 key.
const keyBytes = 32

// Key is one AES-CBC key of the configuration.
type Key struct {
	Name   string `json:"name"`
	Secret string `json:"secret"`
}

// Providers is what K3s 1.32.2 writes into encryption-config.json: the keys (the first one writes), and whether new
// Secrets are encrypted at all (`aescbc` before `identity`) or only old ones still read (`identity` first).
type Providers struct {
	Keys    []Key
	Enabled bool
}

// document is the file in the order in which K3s writes it: the hash of the bytes is part of the protocol.
type document struct {
	Kind       string     `json:"kind"`
	APIVersion string     `json:"apiVersion"`
	Resources  []resource `json:"resources"`
}

type resource struct {
	Resources []string   `json:"resources"`
	Providers []provider `json:"providers"`
}

type provider struct {
	AESCBC   *aescbc   `json:"aescbc,omitempty"`
	Identity *struct{} `json:"identity,omitempty"`
}

type aescbc struct {
	Keys []Key `json:"keys"`
}

// Marshal returns the file's bytes.
func (p Providers) Marshal() ([]byte, error) {
	cipher := provider{AESCBC: &aescbc{Keys: p.Keys}}
	plain := provider{Identity: &struct{}{}}
	order := []provider{cipher, plain}
	if !p.Enabled {
		order = []provider{plain, cipher}
	}
	return json.Marshal(document{
		Kind:       "EncryptionConfiguration",
		APIVersion: "apiserver.config.k8s.io/v1",
		Resources:  []resource{{Resources: []string{"secrets"}, Providers: order}},
	})
}

// Parse reads the bytes of encryption-config.json.
func Parse(data []byte) (Providers, error) {
	var doc document
	if err := json.Unmarshal(data, &doc); err != nil {
		return Providers{}, err
	}
	if len(doc.Resources) == 0 || len(doc.Resources[0].Providers) == 0 {
		return Providers{}, errors.New("no encryption providers found")
	}
	list := doc.Resources[0].Providers
	out := Providers{Enabled: list[0].AESCBC != nil}
	for _, one := range list {
		if one.AESCBC != nil {
			out.Keys = append(out.Keys, one.AESCBC.Keys...)
		}
	}
	return out, nil
}

// Read reads the configuration at path. An empty path (encryption is off) fails as opening "" does, which is what K3s
// reports: `open : no such file or directory`.
func Read(path string) (Providers, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Providers{}, err
	}
	return Parse(data)
}

// Write replaces the configuration at path at once (a reader sees the old or the new file), mode 0600.
func (p Providers) Write(path string) error {
	data, err := p.Marshal()
	if err != nil {
		return err
	}
	return replaceFile(path, data)
}

// HashFile is the SHA-256 of the file's bytes in hex: the hash of the state file and of the annotation.
func HashFile(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// NewKey makes a random key. Keys after the first carry the time of their making, in whole seconds of UTC.
func NewKey(name string) (Key, error) {
	secret := make([]byte, keyBytes)
	if _, err := rand.Read(secret); err != nil {
		return Key{}, err
	}
	return Key{Name: name, Secret: base64.StdEncoding.EncodeToString(secret)}, nil
}

// rotatedName is the name of a key added at t.
func rotatedName(t time.Time) string {
	return firstKeyName + "-" + t.UTC().Format(time.RFC3339)
}

// ensureFiles makes the configuration and the state file of a server that has none (stage start). It leaves existing
// files alone: what came from the datastore or another server counts.
func ensureFiles(configPath, statePath string) error {
	if _, err := os.Stat(configPath); err == nil {
		return ensureState(configPath, statePath)
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	key, err := NewKey(firstKeyName)
	if err != nil {
		return err
	}
	if err := (Providers{Keys: []Key{key}, Enabled: true}).Write(configPath); err != nil {
		return err
	}
	return writeState(statePath, StageStart, configPath)
}

func ensureState(configPath, statePath string) error {
	if _, err := os.Stat(statePath); err == nil || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return writeState(statePath, StageStart, configPath)
}

// writeState writes `<stage>-<hash of the configuration>`.
func writeState(statePath, stage, configPath string) error {
	hash, err := HashFile(configPath)
	if err != nil {
		return err
	}
	return replaceFile(statePath, []byte(stage+"-"+hash))
}

// replaceFile writes beside path and renames, so that a crash leaves the old or the new content.
func replaceFile(path string, data []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	if _, err := temp.Write(data); err != nil {
		temp.Close()
		return err
	}
	if err := temp.Chmod(0o600); err != nil {
		temp.Close()
		return err
	}
	if err := temp.Close(); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return fmt.Errorf("replacing %s: %w", path, err)
	}
	return nil
}
