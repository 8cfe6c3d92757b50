"""Three servers and an agent from nothing: how long hmco-boot takes beyond what K3s itself takes to start; then bootstrap-all
and 300 objects on the same nodes, with nothing to change. Called by `make bench`.

What K3s itself takes is, for a server, from the start of its unit until its Node is a voting member of etcd, before which no
other may be started, and for the agent until its Node is Ready. A watch of the Nodes sees when.

bringup.py --hmco-boot PROGRAM --k3s PROGRAM --work FOLDER --out FILE.md [--rounds N] [--slower SECONDS]

--slower: so much later does each server's API come up (a fault of the stand-in), because a real K3s takes longer. Two
recorded ones were active 8.4 s and 9.4 s after their start, the stand-in is after 3 to 4 s.
"""

import argparse
import statistics
import time
from pathlib import Path

from kube import Bench, objects

LAB = "benchha"
SERVERS = [f"{LAB}-{number}" for number in (1, 2, 3)]
AGENT = f"{LAB}-4"
LINE = "".join(f'{{.status.conditions[?(@.type=="{kind}")].status}} ' for kind in ("Ready", "EtcdIsVoter"))
WATCH = f"""(until [ -e /run/watched ]; do
  k3s kubectl get nodes -w -o jsonpath='{{.metadata.name}} {LINE}{{"\\n"}}' 2>/dev/null
  sleep 0.1
done | while read -r line; do echo "$(date +%s.%N) $line"; done) </dev/null >/root/watch.log 2>&1 &"""
STARTED = "date -d \"$(systemctl show --value --timestamp=us -p InactiveExitTimestamp k3s k3s-agent | grep . | sort | tail -n 1)\" +%s.%N"


def on(bench, node, script):
    """What a script that root runs on a node prints."""
    return bench.call(bench.hmco("lab", "--name", LAB, "ssh", node, "--", "sudo", "sh", "-c", f"'{quoted(script)}'"))["out"]


def quoted(script):
    return script.replace("'", "'\\''")


def own(bench):
    """Seconds that K3s takes by itself, by node."""
    seen = [line.split() for line in on(bench, SERVERS[0], "cat /root/watch.log").splitlines()]
    took = {}
    for node in [*SERVERS, AGENT]:
        wanted = ["True", "True"] if node in SERVERS else ["True"]
        up = next(float(words[0]) for words in seen if words[1] == node and words[2:] == wanted)
        took[node] = up - float(on(bench, node, STARTED))
    return took


def measure(bench, args):
    bench.lab(LAB, servers=3, agents=1)
    bench.call(bench.hmco("run", "os", "--yes"))
    for node in SERVERS:
        if args.slower:
            on(bench, node, f"mkdir -p /run/k3s-standin; echo slow server.ready {args.slower}s >/run/k3s-standin/faults")
    on(bench, SERVERS[0], WATCH)
    whole = bench.call(bench.hmco("run", "k3s", "--yes"))["wall"]
    took = own(bench)
    on(bench, SERVERS[0], "touch /run/watched; pkill -f [j]sonpath || true")
    total = sum(took.values())
    parts = ", ".join(f"{node} {seconds:.1f} s" for node, seconds in took.items())
    note = f", each server's API {args.slower} s later than the stand-in's by itself" if args.slower else ""
    text = (f"### Three servers and an agent from nothing{note}\n\n`hmco-boot run k3s`: {whole:.1f} s; K3s itself {total:.1f} s ({parts}); "
            f"beyond that {whole - total:.1f} s, {100 * (whole - total) / total:.0f} %.\n")
    if args.rounds:
        bench.playbook("more", [("objects", ["---\n".join(objects("more"))], "")])
        both = 'title = "All"\n[[step]]\nid = "bootstrap"\n[step.playbook]\npath = "bootstrap-all.toml"\n[[step]]\nid = "objects"\n[step.playbook]\npath = "more.toml"\n'
        (bench.project / "playbooks/all.toml").write_text(both)
        first = bench.call(bench.hmco("run", "all", "--yes"))["wall"]
        again = statistics.median(bench.call(bench.hmco("run", "all"))["wall"] for _ in range(args.rounds))
        text += (f"\n### bootstrap-all and 300 objects on four nodes\n\nThe rest of bootstrap-all and the objects, first time: {first:.1f} s; "
                 f"nothing to change: {again:.2f} s (median of {args.rounds}).\n")
    with Path(args.out).open("a", encoding="utf-8") as out:
        out.write(text + "\n")
    print(text)


def main():
    parser = argparse.ArgumentParser()
    for name in ("hmco-boot", "k3s", "work", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, default=0, help="measure the converged run too, so often")
    parser.add_argument("--slower", type=int, default=0, help="seconds")
    args = parser.parse_args()
    for name in ("hmco_boot", "k3s"):
        setattr(args, name, str(Path(getattr(args, name)).resolve()))
    bench = Bench(args)
    begun = time.monotonic()
    try:
        measure(bench, args)
    finally:
        bench.down(LAB)
        print(f"{time.monotonic() - begun:.0f} s with the lab")


main()
