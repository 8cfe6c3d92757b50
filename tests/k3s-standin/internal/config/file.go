package config

// FileArgs returns config.yaml (and config.yaml.d) as command-line arguments, in the form K3s puts them in front of the
// real ones. Keys for which known is false are left out; with warn, each value of such a key is warned about as K3s does
// (`k3s server`, `agent` and `etcd-snapshot` warn, `secrets-encrypt`, `token` and `certificate` are silent).
//
// args are the command's real arguments: --config/-c among them, or K3S_CONFIG_FILE, names another file.
func FileArgs(args []string, known func(key string) bool, warn bool) ([]string, error) {
	return nil, nil
}
