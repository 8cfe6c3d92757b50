"""The same work by several tools side by side, on the same lab nodes, in one run. Called by `make bench`.

Wall time, processor time and memory are those of the tool's own processes on this machine; bytes are those on the
nodes' links; processes are those that were started on a node, counted by its process numbers.

run.py --hmco-boot PROGRAM --bare-russh PROGRAM --venv FOLDER --lab FOLDER --out FILE.md [--nodes N] [--rounds N]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
LARGE = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n" * 1024
# What one reading of a converged node costs at least: about the questions of the 22 resources, in one shell.
PROBE = """
stat -c '%n %a %U %G %s' /srv/bench /srv/bench/* /srv/bench/a/* /etc/systemd/system/bench.service
sha256sum /srv/bench/a/* /srv/bench/b/large /etc/systemd/system/bench.service
cat /srv/bench/a/file1.conf /proc/sys/net/ipv4/ip_forward
dpkg-query -W -f '${Package} ${Version} ${Status}\\n' jq tree less
systemctl show -p Id,ActiveState,UnitFileState bench.service ssh.service
readlink /srv/bench/current
"""
RESET = """
systemctl disable --now bench.service; rm -rf /srv/bench /etc/systemd/system/bench.service /etc/sysctl.d/*bench* \
  /etc/sysctl.d/*hmco* /run/hmco-boot /var/lib/hmco-boot; sysctl -w net.ipv4.tcp_keepalive_time=7200 \
  net.ipv4.conf.all.rp_filter=0 net.ipv4.ip_forward=0; systemctl daemon-reload; apt-get -y purge jq tree less; apt-get clean
"""


class Nodes:
    """The lab's nodes, from the inventory that the lab wrote."""

    def __init__(self, inventory):
        self.file = Path(inventory)
        self.toml = tomllib.loads(self.file.read_text())
        ssh = self.toml["ssh"]
        self.user, self.key = ssh["user"], os.path.expanduser(ssh["identity"])
        self.all = {name: (node["address"], node.get("port", 22), node["host_keys"]) for name, node in self.toml["node"].items()}

    def known_hosts(self, path):
        lines = [
            f"{address if port == 22 else f'[{address}]:{port}'} {key}\n"
            for address, port, keys in self.all.values()
            for key in keys
        ]
        Path(path).write_text("".join(lines))
        return path

    def delayed(self, folder, first_port=22800):
        """The same nodes behind local ports; gives also the words for delay.py."""
        text, words = self.file.read_text(), []
        for number, (address, port, _) in enumerate(self.all.values()):
            local = first_port + number
            words.append(f"{local}={address}:{port}")
            text = text.replace(f'\naddress = "{address}"', f'\naddress = "127.0.0.1"\nport = {local}')
        copy = Path(folder) / "delayed.toml"
        copy.write_text(text)
        return Nodes(copy), words


class Memory(threading.Thread):
    """Largest sum of resident memory of a process and all below it."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.over = pid, 0, False

    def run(self):
        while not self.over:
            self.peak = max(self.peak, self.now())
            time.sleep(0.02)

    def now(self):
        children, resident = {}, {}
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                try:
                    words = Path(entry.path, "stat").read_text().rsplit(")", 1)[1].split()
                except OSError:
                    continue
                children.setdefault(int(words[1]), []).append(int(entry.name))
                resident[int(entry.name)] = int(words[21]) * 4096
        total, left = 0, [self.pid]
        while left:
            pid = left.pop()
            total += resident.get(pid, 0)
            left.extend(children.get(pid, []))
        return total


class Bench:
    def __init__(self, args, nodes, work):
        self.args, self.nodes, self.work = args, nodes, Path(work)
        self.work.mkdir(parents=True, exist_ok=True)
        self.hosts = nodes.known_hosts(self.work / "known_hosts")
        (self.work / "large").write_text(LARGE)
        (self.work / "probe").write_text(PROBE)
        self.write_inventories()

    def write_inventories(self):
        nodes = self.nodes
        common = f"ansible_user={nodes.user}\nansible_ssh_private_key_file={nodes.key}"
        lines = [f"{name} ansible_host={address} ansible_port={port}" for name, (address, port, _) in nodes.all.items()]
        (self.work / "hosts.ini").write_text(
            "[all]\n" + "\n".join(lines) + f"\n[all:vars]\n{common}\nlarge={self.work}/large\n"
            "ansible_python_interpreter=/usr/bin/python3\n"
        )
        config = (
            "[defaults]\nforks = 50\nhost_key_checking = True\nlocalhost_warning = False\n[ssh_connection]\npipelining = True\n"
            f"ssh_args = -o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile={self.hosts}\n"
            f"control_path_dir = {self.work}/cp\n"
        )
        (self.work / "ansible.cfg").write_text(config)
        mitogen = next(Path(self.args.venv).glob("lib/python*/site-packages/ansible_mitogen/plugins/strategy"))
        (self.work / "mitogen.cfg").write_text(config.replace("[defaults]", f"[defaults]\nstrategy_plugins = {mitogen}\nstrategy = mitogen_linear"))
        hosts = [
            (name, {"ssh_hostname": address, "ssh_port": port, "ssh_user": nodes.user, "ssh_key": nodes.key, "_sudo": True,
                    "large": str(self.work / "large"), "ssh_known_hosts_file": str(self.hosts)})
            for name, (address, port, _) in nodes.all.items()
        ]
        (self.work / "pyinfra_hosts.py").write_text(f"hosts = {hosts!r}\n")

    def ssh(self, name, command=None):
        address, port, _ = self.nodes.all[name]
        return ["ssh", "-F", "none", "-i", self.nodes.key, "-p", str(port), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
                "-o", f"UserKnownHostsFile={self.hosts}", f"{self.nodes.user}@{address}", *([command] if command else [])]

    def on_all(self, command, wanted=0):
        running = [(name, subprocess.Popen(self.ssh(name, command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)) for name in self.nodes.all]
        out = {}
        for name, process in running:
            stdout, stderr = process.communicate()
            if wanted is not None and process.returncode != wanted:
                sys.exit(f"{name}: {command[:60]!r} ended with {process.returncode}: {stderr.decode()[-400:]}")
            out[name] = stdout.decode()
        return out

    def reset(self):
        self.on_all("sudo sh -c " + json.dumps(RESET).replace("\\n", "\n").replace("$", "\\$"), wanted=None)
        subprocess.run(["rm", "-rf", self.work / "cp", self.work / "state"], check=True)

    def commands(self, which):
        """Tool -> (argv, environment)."""
        venv, work = Path(self.args.venv) / "bin", self.work
        ansible = {"LC_ALL": "C.UTF-8", "ANSIBLE_NOCOWS": "1", "PATH": f"{venv}:{os.environ['PATH']}"}
        parallel = " & ".join(" ".join(map(repr, self.ssh(name, "sudo sh -s"))) + f" < {work}/probe > /dev/null" for name in self.nodes.all)
        targets = [f"{self.nodes.user}@{address}:{port}" for _, (address, port, _) in self.nodes.all.items()]
        every = {
            "OpenSSH in parallel, one probe": (["sh", "-c", parallel + " & wait"], {}),
            "bare russh, one probe": ([self.args.bare_russh, self.nodes.key, str(work / "probe"), *targets], {}),
            "hmco-boot": ([self.args.hmco_boot, "--project", str(HERE / "project"), "-i", str(self.nodes.file), "--output", "plain", "run", "bench"],
                          {"XDG_STATE_HOME": str(work / "state")}),
            "pyinfra": ([str(venv / "pyinfra"), "-y", str(work / "pyinfra_hosts.py"), str(HERE / "pyinfra/deploy.py")], {"LC_ALL": "C.UTF-8"}),
            "ansible + mitogen": ([str(venv / "ansible-playbook"), "-i", str(work / "hosts.ini"), str(HERE / "ansible/site.yml")], ansible | {"ANSIBLE_CONFIG": str(work / "mitogen.cfg")}),
            "ansible": ([str(venv / "ansible-playbook"), "-i", str(work / "hosts.ini"), str(HERE / "ansible/site.yml")], ansible | {"ANSIBLE_CONFIG": str(work / "ansible.cfg")}),
        }
        return {tool: command for tool, command in every.items() if tool in which}

    def bytes(self):
        links = json.loads(subprocess.run(["ip", "-j", "-s", "link"], check=True, capture_output=True).stdout)
        mine = [link for link in links if link.get("master") == self.bridge()]
        return sum(link["stats64"][way]["bytes"] for link in mine for way in ("rx", "tx"))

    def bridge(self):
        if not hasattr(self, "_bridge"):
            address = next(iter(self.args.real.all.values()))[0]
            route = json.loads(subprocess.run(["ip", "-j", "route", "get", address], check=True, capture_output=True).stdout)
            self._bridge = route[0]["dev"]
        return self._bridge

    def started(self):
        """Process numbers given away so far, summed over the nodes."""
        return sum(int(text.split()[-1]) for text in self.on_all("cat /proc/loadavg").values())

    def once(self, tool, command, weigh=False):
        """One run. Weighing looks at all processes of this machine again and again, so its times do not count."""
        argv, environment = command
        before, moved = self.started(), self.bytes()
        begun, used = time.monotonic(), os.times()
        log = open(self.work / "log", "wb")
        process = subprocess.Popen(argv, env=os.environ | environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=self.work)
        memory = Memory(process.pid)
        if weigh:
            memory.start()
        status = process.wait()
        wall, after = time.monotonic() - begun, os.times()
        memory.over = True
        moved = self.bytes() - moved
        # What counting itself starts: measured right after, with nothing in between.
        first = self.started()
        counting = self.started() - first
        processes = (first - before - counting) / len(self.nodes.all)
        if status != 0:
            sys.exit(f"{tool} ended with {status}:\n" + (self.work / "log").read_text()[-3000:])
        cpu = after.children_user + after.children_system - used.children_user - used.children_system
        return {"wall": wall, "cpu": cpu, "memory": memory.peak, "bytes": moved, "processes": processes}

    def rounds(self, title, which, rounds, before=lambda: None):
        """The tools take turns, so that what else happens on the machine meets all of them."""
        seen = {tool: [] for tool in which}
        for number in range(rounds):
            for tool, command in self.commands(which).items():
                before()
                seen[tool].append(self.once(tool, command))
                print(f"{title}: {tool}: {seen[tool][-1]['wall']:.2f} s", file=sys.stderr, flush=True)
        results = {tool: {key: statistics.median(one[key] for one in runs) for key in runs[0]} for tool, runs in seen.items()}
        for tool, command in self.commands(which).items():
            before()
            results[tool]["memory"] = self.once(tool, command, weigh=True)["memory"]
        return results


def table(title, results, note):
    own = results.get("hmco-boot", {}).get("wall")
    lines = [f"### {title}", "", note, "", "| tool | wall | to hmco-boot | CPU here | peak memory | bytes on the links | processes started on a node |", "|---|---|---|---|---|---|---|"]
    for tool, seen in results.items():
        ratio = f"{seen['wall'] / own:.2f}x" if own else "-"
        lines.append(
            f"| {tool} | {seen['wall']:.2f} s | {ratio} | {seen['cpu']:.2f} s | {seen['memory'] / 2**20:.0f} MiB | {seen['bytes'] / 1024:.0f} KiB | {seen['processes']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser()
    for name in ("hmco-boot", "bare-russh", "venv", "inventory", "work", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--throttle", help="command that is given a percentage of a processor for each node (100 = no limit)")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    args.real = Nodes(args.inventory)
    bench = Bench(args, args.real, args.work)
    fast = ["OpenSSH in parallel, one probe", "bare russh, one probe", "hmco-boot"]
    tools = ["hmco-boot", "pyinfra", "ansible + mitogen", "ansible"]
    tables = []

    def add(title, results, note):
        tables.append(table(title, results, note))
        Path(args.out).write_text("\n".join(tables))

    # What Ansible needs on the nodes; the others need nothing.
    bench.on_all("sudo apt-get update -qq && sudo apt-get install -qq -y --no-install-recommends python3 python3-apt")
    add("First run", bench.rounds("first run", tools, 1, before=bench.reset), "22 resources from nothing, once each; nodes put back before each.")
    add("Converged, the floor", bench.rounds("floor", fast, 3 * args.rounds), f"Median of {3 * args.rounds}.")
    add("Converged", bench.rounds("converged", tools, args.rounds), f"Nothing to change; median of {args.rounds}.")
    if args.throttle:
        subprocess.run([*args.throttle.split(), "10%"], check=True)
        add("Converged, nodes with a tenth of a processor each", bench.rounds("throttled", fast + tools[1:2], args.rounds), f"Median of {args.rounds}.")
        subprocess.run([*args.throttle.split(), "off"], check=True)
    slow, words = args.real.delayed(args.work)
    proxy = subprocess.Popen([sys.executable, HERE / "delay.py", "15", *words], stdout=subprocess.PIPE)
    proxy.stdout.readline()
    try:
        far = Bench(args, slow, Path(args.work) / "slow")
        add("Converged, 30 ms of round trip added", far.rounds("slow link", fast + tools[1:2], args.rounds), f"Median of {args.rounds}.")
    finally:
        proxy.terminate()
    print("\n".join(tables))


main()
