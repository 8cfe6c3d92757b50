package logx

import (
	"bytes"
	"testing"
	"time"
)

func TestLinesReadAsThoseOfK3s(t *testing.T) {
	var b bytes.Buffer
	defer SetOutput(SetOutput(&b))
	SetClock(func() time.Time { return time.Date(2026, 11, 21, 9, 10, 52, 0, time.UTC) })
	defer SetClock(time.Now)
	Infof("start")
	Infof("Starting k3s agent %s (%s)", "v1.32.2+k3s1", "381620ef")
	Warnf("Unknown flag --%s found in config.yaml, skipping\n", "frobnicate")
	With("error", Fields{"url": "wss://1.2.3.4:6443/v1-k3s/connect", "error": "no"}, "Remotedialer proxy error; reconnecting...")
	Debugf("not shown")
	want := `time="2026-11-21T09:10:52Z" level=info msg=start
time="2026-11-21T09:10:52Z" level=info msg="Starting k3s agent v1.32.2+k3s1 (381620ef)"
time="2026-11-21T09:10:52Z" level=warning msg="Unknown flag --frobnicate found in config.yaml, skipping\n"
time="2026-11-21T09:10:52Z" level=error msg="Remotedialer proxy error; reconnecting..." error=no url="wss://1.2.3.4:6443/v1-k3s/connect"
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
