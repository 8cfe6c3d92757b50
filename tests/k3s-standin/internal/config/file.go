package config

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	yaml "sigs.k8s.io/yaml/goyaml.v2"

	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
)

// FileArgs returns config.yaml (and config.yaml.d) as command-line arguments, in the form K3s puts them in front of the
// real ones. Keys for which known is false are left out; with warn, each value of such a key is warned about as K3s does
// (`k3s server`, `agent` and `etcd-snapshot` warn, `secrets-encrypt`, `token` and `certificate` are silent).
//
// args are the command's real arguments: --config/-c among them, or K3S_CONFIG_FILE, names another file. A list that args
// give replaces the files' list.
func FileArgs(args []string, known func(key string) bool, warn bool) ([]string, error) {
	file, explicit := configFile(args)
	entries, err := readAll(file, explicit)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if !known(e.key) {
			for range e.values {
				if warn {
					logx.Warnf("Unknown flag --%s found in config.yaml, skipping\n", e.key)
				}
			}
			continue
		}
		if onCommandLine(args, e.key) {
			continue
		}
		for _, v := range e.values {
			out = append(out, "--"+e.key+"="+v)
		}
	}
	return out, nil
}

// entry is one key of the merged files with its values in order.
type entry struct {
	key    string
	values []string
	isList bool
}

func configFile(args []string) (name string, explicit bool) {
	for i, arg := range args {
		for _, flag := range []string{"--config", "-config", "-c", "--c"} {
			if arg == flag && i+1 < len(args) {
				return args[i+1], true
			}
			if rest, ok := strings.CutPrefix(arg, flag+"="); ok {
				return rest, true
			}
		}
	}
	if env := os.Getenv("K3S_CONFIG_FILE"); env != "" {
		return env, true
	}
	return paths.DefaultConfig, false
}

func onCommandLine(args []string, key string) bool {
	for _, arg := range args {
		name := strings.TrimLeft(arg, "-")
		if name != arg && (name == key || strings.HasPrefix(name, key+"=")) {
			return true
		}
	}
	return false
}

// readAll reads the file and FILE.d/*.yaml, *.yml in alphabetical order, and merges them.
func readAll(file string, explicit bool) ([]entry, error) {
	files := []string{}
	if _, err := os.Stat(file); err == nil {
		files = append(files, file)
	} else if explicit {
		return nil, err
	}
	more, err := os.ReadDir(file + ".d")
	if err != nil && !os.IsNotExist(err) && !strings.Contains(err.Error(), "not a directory") {
		return nil, err
	}
	sort.Slice(more, func(i, j int) bool { return more[i].Name() < more[j].Name() })
	for _, m := range more {
		if ext := filepath.Ext(m.Name()); !m.IsDir() && (ext == ".yaml" || ext == ".yml") {
			files = append(files, filepath.Join(file+".d", m.Name()))
		}
	}
	var merged []entry
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if merged, err = mergeInto(merged, data); err != nil {
			return nil, err
		}
	}
	return merged, nil
}

func mergeInto(merged []entry, data []byte) ([]entry, error) {
	var doc yaml.MapSlice
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	for _, item := range doc {
		key, more := strings.CutSuffix(fmt.Sprint(item.Key), "+")
		values, isList := valuesOf(item.Value)
		at := -1
		for i := range merged {
			if merged[i].key == key {
				at = i
			}
		}
		switch {
		case at < 0:
			merged = append(merged, entry{key: key, values: values, isList: isList})
		case more && (merged[at].isList || isList):
			merged[at].values = append(merged[at].values, values...)
			merged[at].isList = true
		case more:
			merged[at].values = []string{strings.Join(merged[at].values, "") + strings.Join(values, "")}
		default:
			merged = append(append(merged[:at:at], merged[at+1:]...), entry{key: key, values: values, isList: isList})
		}
	}
	return merged, nil
}

func valuesOf(v any) (values []string, isList bool) {
	switch x := v.(type) {
	case []any:
		for _, item := range x {
			values = append(values, fmt.Sprint(item))
		}
		return values, true
	case nil:
		return []string{""}, false
	default:
		return []string{fmt.Sprint(x)}, false
	}
}
