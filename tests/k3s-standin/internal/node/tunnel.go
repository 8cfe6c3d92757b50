package node

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/supervisor"
)

// tunnels keeps one connection to every server, as K3s' agents do. Nothing is
// carried over it: servers reach the kubelet's port directly. It is there
// because its loss is what an agent's journal tells first about a server.
type tunnels struct {
	j    *joiner
	open map[string]context.CancelFunc
}

// set connects to new servers and lets go of those that are gone.
func (t *tunnels) set(ctx context.Context, servers []string) {
	if t.open == nil {
		t.open = map[string]context.CancelFunc{}
	}
	wanted := map[string]bool{}
	for _, address := range servers {
		wanted[address] = true
		if t.open[address] == nil {
			inner, cancel := context.WithCancel(ctx)
			t.open[address] = cancel
			go t.keep(inner, address)
		}
	}
	for address, cancel := range t.open {
		if !wanted[address] {
			cancel()
			delete(t.open, address)
		}
	}
}

func (t *tunnels) keep(ctx context.Context, address string) {
	url := "wss://" + address + pathConnect
	for ctx.Err() == nil {
		logx.With("info", logx.Fields{"url": url}, "Connecting to proxy")
		err := t.connect(ctx, address, url)
		if ctx.Err() != nil {
			return
		}
		logx.With("error", logx.Fields{"url": url, "error": err.Error()}, "Remotedialer proxy error; reconnecting...")
		if sleep(ctx, time.Second) != nil {
			return
		}
	}
}

// connect returns when the connection has ended.
func (t *tunnels) connect(ctx context.Context, address, url string) error {
	config := t.j.http.Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = []string{"http/1.1"}
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 10 * time.Second}, Config: config}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		logx.With("error", logx.Fields{"error": err.Error()}, "Failed to connect to proxy. Empty dialer response")
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n%s: %s\r\n\r\n",
		pathConnect, address, headerName, t.j.node); err != nil {
		return err
	}
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
		_ = response.Body.Close()
		err := fmt.Errorf("bad handshake: %s", text(body, response.StatusCode))
		logx.With("error", logx.Fields{"error": err.Error()}, "Failed to connect to proxy. Response status: %v - %s.", response.StatusCode, http.StatusText(response.StatusCode))
		return err
	}
	logx.With("info", logx.Fields{"url": url}, "Remotedialer connected to proxy")
	if _, err = reader.ReadByte(); err == nil {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// tunnel is the server's end: it holds the connection until one side goes.
func (n *server) tunnel(w http.ResponseWriter, r *http.Request) {
	hijacker, ok := w.(http.Hijacker)
	if !ok || r.Header.Get("Upgrade") == "" {
		supervisor.SendError(fmt.Errorf("websocket: the client is not using the websocket protocol"), w, r, http.StatusBadRequest)
		return
	}
	conn, buffer, err := hijacker.Hijack()
	if err != nil {
		supervisor.SendError(err, w, r, http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	logx.Infof("Handling backend connection request [%s]", r.Header.Get(headerName))
	if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"); err != nil {
		return
	}
	_ = conn.SetDeadline(time.Time{})
	_, _ = io.Copy(io.Discard, buffer)
}
