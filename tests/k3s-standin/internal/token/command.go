package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
	"hmco-boot/k3s-standin/internal/supervisor"
	"hmco-boot/k3s-standin/internal/usage"
)

const (
	callLimit    = 90 * time.Second
	listLimit    = 30 * time.Second
	defaultTTL   = "24h0m0s"
	secretPrefix = "bootstrap-token-"
)

// warning is printed with its colours also where no terminal is.
const warning = "\x1b[33mWARNING\x1b[0m: Recommended to keep a record of the old token. " +
	"If restoring from a snapshot, you must use the token associated with that snapshot."

var (
	kubeconfigFlag = config.Flag{Names: []string{"kubeconfig"}, Env: "KUBECONFIG", Usage: "(cluster) Server to connect to"}
	tokenFlag      = config.Flag{
		Names: []string{"token", "t"}, Env: "K3S_TOKEN",
		Usage: "Existing token used to join a server or agent to a cluster",
	}
	newTokenFlag    = config.Flag{Names: []string{"new-token"}, Usage: "New token that replaces existing token"}
	outputFlag      = config.Flag{Names: []string{"output", "o"}, Default: "text", Usage: "Output format. Valid options: text, json"}
	descriptionFlag = config.Flag{Names: []string{"description"}, Usage: "A human friendly description of how this token is used"}
	groupsFlag      = config.Flag{
		Names: []string{"groups"}, Kind: config.List, Default: "system:bootstrappers:k3s:default-node-token",
		Usage: "Extra groups that this token will authenticate as when used for authentication",
	}
	usagesFlag = config.Flag{
		Names: []string{"usages"}, Kind: config.List, Default: "signing,authentication",
		Usage: "Describes the ways in which this token can be used.",
	}
	ttlFlag = config.Flag{
		Names: []string{"ttl"}, Kind: config.Duration, Default: defaultTTL,
		Usage: "The duration before the token is automatically deleted (e.g. 1s, 2m, 3h). If set to '0', the token will never expire",
	}
)

// Command runs `k3s token ARGS` and returns the exit status.
func Command(args []string, io logx.Streams) int {
	leaf := func(name, about string, run func(*config.Values, logx.Streams) error, more ...config.Flag) *usage.Command {
		return &usage.Command{
			Path: "k3s token " + name, About: about, Run: run,
			Flags: append([]config.Flag{usage.DataDir, kubeconfigFlag}, more...),
		}
	}
	server := usage.Server
	root := &usage.Command{
		Path: "k3s token", About: "Manage tokens",
		Commands: []*usage.Command{
			leaf("create", "Create bootstrap tokens on the server", runCreate, descriptionFlag, groupsFlag, ttlFlag, usagesFlag),
			leaf("delete", "Delete bootstrap tokens on the server", runDelete),
			leaf("generate", "Generate and print a bootstrap token, but do not create it on the server", runGenerate),
			leaf("list", "List bootstrap tokens on the server", runList, outputFlag),
			leaf("rotate", "Rotate original server token with a new server token", runRotate, tokenFlag, server, newTokenFlag),
		},
	}
	return root.Execute(args, io)
}

func runGenerate(_ *config.Values, io logx.Streams) error {
	made, err := generate()
	if err == nil {
		fmt.Fprintln(io.Out, made)
	}
	return err
}

func runRotate(v *config.Values, io logx.Streams) error {
	fmt.Fprintln(io.Out, warning)
	existing, err := usage.Token(v.Text("token"), usage.Paths(v))
	if err != nil {
		return err
	}
	body, err := json.Marshal(request{NewToken: v.Text("new-token")})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	if _, err := supervisor.Call(ctx, v.Text("server"), existing, "PUT", tokenPath, body); err != nil {
		return err
	}
	fmt.Fprintln(io.Out, "Token rotated, restart k3s nodes with new token")
	return nil
}

// client is the apiserver's client by the admin kubeconfig.
func client(v *config.Values) (kubernetes.Interface, error) {
	file := v.Text("kubeconfig")
	if file == "" {
		file = paths.DefaultKubeconfig
	}
	if _, err := os.Stat(file); err != nil {
		return nil, err
	}
	rest, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(rest)
}

// bootstrapToken is a bootstrap token as its Secret holds it.
type bootstrapToken struct {
	id, secret, description, expires string
	usages, groups                   []string
}

func tokenOf(s *corev1.Secret) bootstrapToken {
	t := bootstrapToken{
		id: string(s.Data["token-id"]), secret: string(s.Data["token-secret"]),
		description: string(s.Data["description"]), expires: string(s.Data["expiration"]),
	}
	for key, value := range s.Data {
		if name, ok := strings.CutPrefix(key, "usage-bootstrap-"); ok && string(value) == "true" {
			t.usages = append(t.usages, name)
		}
	}
	sort.Strings(t.usages)
	if groups := string(s.Data["auth-extra-groups"]); groups != "" {
		t.groups = strings.Split(groups, ",")
	}
	return t
}

func runList(v *config.Values, io logx.Streams) error {
	api, err := client(v)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), listLimit)
	defer cancel()
	found, err := api.CoreV1().Secrets(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{
		FieldSelector: "type=" + string(corev1.SecretTypeBootstrapToken),
	})
	if err != nil {
		return fmt.Errorf("failed to list bootstrap tokens: %w", err)
	}
	var tokens []bootstrapToken
	for i := range found.Items {
		tokens = append(tokens, tokenOf(&found.Items[i]))
	}
	return printTokens(io.Out, tokens, time.Now())
}

func printTokens(w io.Writer, tokens []bootstrapToken, now time.Time) error {
	table := tabwriter.NewWriter(w, 10, 4, 3, ' ', 0)
	fmt.Fprintln(table, "TOKEN\tTTL\tEXPIRES\tUSAGES\tDESCRIPTION\tEXTRA GROUPS")
	for _, t := range tokens {
		ttl, expires := "<forever>", "<never>"
		if at, err := time.Parse(time.RFC3339, t.expires); err == nil {
			ttl, expires = duration.ShortHumanDuration(at.Sub(now)), t.expires
		}
		fmt.Fprintf(table, "%s.%s\t%s\t%s\t%s\t%s\t%s\n", t.id, t.secret, ttl, expires,
			orNone(strings.Join(t.usages, ",")), orNone(t.description), orNone(strings.Join(t.groups, ",")))
	}
	return table.Flush()
}

func orNone(text string) string {
	if text == "" {
		return "<none>"
	}
	return text
}

func runCreate(v *config.Values, io logx.Streams) error {
	made := ""
	if len(v.Rest) > 0 {
		made = v.Rest[0]
	} else {
		var err error
		if made, err = generate(); err != nil {
			return err
		}
	}
	if !bootstrapForm.MatchString(made) {
		return fmt.Errorf("the bootstrap token %q was not of the form %q", made, "\\A([a-z0-9]{6})\\.([a-z0-9]{16})\\z")
	}
	api, err := client(v)
	if err != nil {
		return err
	}
	id, secret, _ := strings.Cut(made, ".")
	data := map[string][]byte{
		"token-id": []byte(id), "token-secret": []byte(secret),
		"auth-extra-groups": []byte(strings.Join(v.Split("groups"), ",")),
	}
	if text := v.Text("description"); text != "" {
		data["description"] = []byte(text)
	}
	if ttl := v.Duration("ttl"); ttl > 0 {
		data["expiration"] = []byte(time.Now().UTC().Add(ttl).Format(time.RFC3339))
	}
	for _, use := range v.Split("usages") {
		data["usage-bootstrap-"+use] = []byte("true")
	}
	ctx, cancel := context.WithTimeout(context.Background(), listLimit)
	defer cancel()
	_, err = api.CoreV1().Secrets(metav1.NamespaceSystem).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: secretPrefix + id, Namespace: metav1.NamespaceSystem},
		Type:       corev1.SecretTypeBootstrapToken, Data: data,
	}, metav1.CreateOptions{})
	if err == nil {
		fmt.Fprintln(io.Out, made)
	}
	return err
}

func runDelete(v *config.Values, io logx.Streams) error {
	if len(v.Rest) == 0 {
		return errors.New("missing argument; 'token delete' is missing token")
	}
	api, err := client(v)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), listLimit)
	defer cancel()
	for _, text := range v.Rest {
		id, _, _ := strings.Cut(text, ".")
		if err := api.CoreV1().Secrets(metav1.NamespaceSystem).Delete(ctx, secretPrefix+id, metav1.DeleteOptions{}); err != nil {
			return fmt.Errorf("failed to delete bootstrap token %q: %w", id, err)
		}
		fmt.Fprintf(io.Out, "bootstrap token %q deleted\n", id)
	}
	return nil
}
