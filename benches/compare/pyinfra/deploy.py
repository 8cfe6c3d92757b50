"""The same 22 resources, for pyinfra."""

import io

from pyinfra import host
from pyinfra.operations import apt, files, server, systemd

for name in "abcd":
    files.directory(path=f"/srv/bench/{name}", mode="755")
for number in range(1, 6):
    files.put(src=io.StringIO(f"file {number} of {host.name}\n"), dest=f"/srv/bench/a/file{number}", mode="644")
files.put(src=host.data.large, dest="/srv/bench/b/large", mode="644")
for line in ("alpha = 1", "beta = 2"):
    files.line(path="/srv/bench/a/file1.conf", line=line)
for key, value in (
    ("net.ipv4.ip_forward", 1),
    ("net.ipv4.conf.all.rp_filter", 2),
    ("net.ipv4.tcp_keepalive_time", 600),
):
    server.sysctl(key=key, value=value, persist=True)
apt.packages(packages=["jq", "tree", "less"], no_recommends=True)
unit = files.put(
    src=io.StringIO(
        "[Unit]\nDescription=Bench\n\n[Service]\nExecStart=/bin/sleep infinity\n\n[Install]\nWantedBy=multi-user.target\n"
    ),
    dest="/etc/systemd/system/bench.service",
    mode="644",
)
systemd.service(service="bench.service", running=True, enabled=True, daemon_reload=unit.changed, restarted=unit.changed)
systemd.service(service="ssh.service", running=True, enabled=True)
files.link(path="/srv/bench/current", target="a")
