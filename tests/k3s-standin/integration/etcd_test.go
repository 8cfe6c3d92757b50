package integration

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// sealedWith counts the Secrets in the database by the key that they are sealed with; "" is none.
func (m *machine) sealedWith() map[string]int {
	m.t.Helper()
	certs := rancher + "/server/tls/etcd/"
	own, err := tls.X509KeyPair([]byte(m.read(certs+"client.crt")), []byte(m.read(certs+"client.key")))
	if err != nil {
		m.t.Fatal(err)
	}
	authority := x509.NewCertPool()
	authority.AppendCertsFromPEM([]byte(m.read(certs + "server-ca.crt")))
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"https://127.0.0.1:2379"}, DialTimeout: 10 * time.Second, Logger: zap.NewNop(),
		TLS: &tls.Config{Certificates: []tls.Certificate{own}, RootCAs: authority},
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return m.dial(ctx, "tcp", strings.TrimPrefix(address, "https://"))
		})},
	})
	if err != nil {
		m.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	answer, err := client.Get(ctx, "/registry/secrets/", clientv3.WithPrefix())
	if err != nil {
		m.t.Fatal(err)
	}
	count := map[string]int{}
	for _, pair := range answer.Kvs {
		rest, sealed := strings.CutPrefix(string(pair.Value), "k8s:enc:aescbc:v1:")
		key := ""
		if sealed {
			key, _, _ = strings.Cut(rest, ":")
			// Names of keys carry a time with colons in it.
			if end := strings.Index(rest, "Z:"); strings.HasPrefix(rest, "aescbckey-") && end > 0 {
				key = rest[:end+1]
			}
		}
		count[key]++
	}
	return count
}
