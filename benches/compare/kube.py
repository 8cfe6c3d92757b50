"""300 objects of a Kubernetes API: hmco-boot through SSH beside kubectl straight from here. Called by `make bench`.

A lab node runs K3s (its stand-in has the real etcd and kube-apiserver). Both tools are given the same objects, as the same
field manager, so that neither has anything to change once the other has applied them. What is measured is wall time and
processor time of the tool's own processes.

kube.py --hmco-boot PROGRAM --kubectl PROGRAM --k3s PROGRAM --work FOLDER --out FILE.md [--rounds N] [--mirror FOLDER]
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

LAB = "benchkube"
PLACES = 4
EACH = 14


def objects(prefix):
    """300 objects of the kinds that platforms are made of: 75 in each of four namespaces."""
    documents = []

    def add(api, kind, name, place, body):
        inside = f", namespace: {place}" if place else ""
        documents.append(f"apiVersion: {api}\nkind: {kind}\nmetadata: {{name: {name}{inside}, labels: {{app: web}}}}\n{body}\n")

    rbac = "rbac.authorization.k8s.io"
    for number in range(PLACES):
        place = f"{prefix}-{number}"
        add("v1", "Namespace", place, None, "")
        for one in range(EACH):
            name = f"web-{one}"
            text = "".join(f"  line {line} of a configuration file\\n" for line in range(20))
            add("v1", "ServiceAccount", name, place, "")
            add("v1", "ConfigMap", name, place, f'data: {{a: "1", text: "{text}"}}')
            add("v1", "Secret", name, place, "data: {password: bm90LXNvLXNlY3JldA==}")
            add(f"{rbac}/v1", "Role", name, place, 'rules: [{apiGroups: [""], resources: [pods], verbs: [get, list]}]')
            add(f"{rbac}/v1", "RoleBinding", name, place, f"roleRef: {{apiGroup: {rbac}, kind: Role, name: {name}}}\n"
                f"subjects: [{{kind: ServiceAccount, name: {name}, namespace: {place}}}]")
        for one in range(2):
            name = f"web-{one}"
            add("v1", "Service", name, place, "spec: {selector: {app: web}, ports: [{name: dns, port: 53, protocol: TCP}, {name: dns-udp, port: 53, protocol: UDP}]}")
            add("apps/v1", "Deployment", name, place, "spec:\n  replicas: 1\n  selector: {matchLabels: {app: web}}\n  template:\n"
                "    metadata: {labels: {app: web}}\n    spec: {containers: [{name: web, image: web, resources: {requests: {cpu: 100m, memory: 64Mi}}}]}")
    return documents


def upstream(mirror):
    """Manifests of releases, one step each; what belongs to K3s or is there in two versions is left out."""
    chosen = {
        "local-path-provisioner": "", "metallb": "", "cert-manager/v1.19.4": "", "velero": "", "trivy-operator": "", "longhorn": "",
        "argo-cd/v3.5.1/install.yaml": 'namespace = "argocd"\ncreate_namespace = true',
        "prometheus-operator": 'namespace = "monitoring"\ninstead_of = "default"\ncreate_namespace = true',
        "kube-prometheus": 'namespace = "monitoring"\ncreate_namespace = true',
        "traefik": 'namespace = "traefik"\ninstead_of = "default"\ncreate_namespace = true',
        "sealed-secrets/v0.38.4": "", "system-upgrade-controller": 'namespace = "system-upgrade"',
        "falco": 'namespace = "falco"\ninstead_of = "default"\ncreate_namespace = true',
    }
    for name, more in chosen.items():
        path = Path(mirror, name)
        files = [path] if path.is_file() else sorted(path.rglob("*.y*ml"))
        yield name.split("/")[0], files, more


class Bench:
    def __init__(self, args):
        self.args, self.work = args, Path(args.work).resolve()
        self.project = self.work / "project"
        shutil.rmtree(self.work, ignore_errors=True)
        (self.work / "home").mkdir(parents=True, mode=0o700)
        self.project.mkdir()
        self.environment = os.environ | {"HOME": str(self.work / "home"), "HMCO_BOOT_STATE_DIR": str(self.work / "state"),
                                         "KUBECONFIG": str(self.project / "kubeconfig")}

    def call(self, argv, wanted=(0,)):
        """Wall time, processor time and output of a command that must end so."""
        before, begun = os.times(), time.monotonic()
        done = subprocess.run([str(word) for word in argv], cwd=self.project, env=self.environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        wall, after = time.monotonic() - begun, os.times()
        if done.returncode not in wanted:
            sys.exit(f"{argv} ended with {done.returncode}:\n{done.stdout.decode()[-4000:]}")
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        return {"wall": wall, "cpu": cpu, "out": done.stdout.decode()}

    def hmco(self, *words):
        return [self.args.hmco_boot, *words]

    def lab(self, name, servers, agents):
        """A project with nodes, and with the playbooks that every project gets."""
        self.call(self.hmco("init", "."))
        for file in [*(self.project / "inventory").glob("*.toml"), self.project / "playbooks/hello.toml"]:
            file.unlink()
        self.call(self.hmco("lab", "--name", name, "up", "--servers", str(servers), "--agents", str(agents), "--k3s", self.args.k3s))

    def up(self):
        self.lab(LAB, servers=1, agents=0)
        config = 'k3s_config={ "flannel-backend" = "host-gw", "disable" = ["local-storage", "traefik", "servicelb", "metrics-server"] }'
        self.call(self.hmco("run", "k3s", "--yes", "--var", config))
        self.call(self.hmco("kubeconfig"))

    def down(self, name=LAB):
        subprocess.run(self.hmco("lab", "--name", name, "down"), cwd=self.project, check=False, stdout=subprocess.DEVNULL)

    def playbook(self, name, steps):
        """Steps: name, texts of files, what else the step says. Gives the folder of the files."""
        folder = self.project / "playbooks/files" / name
        folder.mkdir(parents=True)
        text = 'title = "Bench"\n'
        for step, files, more in steps:
            named = []
            for number, content in enumerate(files):
                (folder / f"{step}-{number}.yaml").write_text(content)
                named.append(f"files/{name}/{step}-{number}.yaml")
            text += f'[[step]]\nid = "{step}"\non = "cluster"\n[step.manifest]\nfiles = {named!r}\n{more}\n'
        (self.project / f"playbooks/{name}.toml").write_text(text.replace("'", '"'))
        return folder

    def rounds(self, commands, rounds):
        """The tools take turns, so that what else happens on the machine meets all of them."""
        seen = {tool: [] for tool in commands}
        for _ in range(rounds):
            for tool, command in commands.items():
                seen[tool].append(self.call(command))
                print(f"{tool}: {seen[tool][-1]['wall']:.2f} s", file=sys.stderr, flush=True)
        return {tool: {key: statistics.median(one[key] for one in runs) for key in ("wall", "cpu")} for tool, runs in seen.items()}


def table(title, note, results):
    own = results["hmco-boot"]["wall"]
    lines = [f"### {title}", "", note, "", "| tool | wall | hmco-boot takes | CPU here |", "|---|---|---|---|"]
    lines += [f"| {tool} | {seen['wall']:.2f} s | {own / seen['wall']:.2f}x | {seen['cpu']:.2f} s |" for tool, seen in results.items()]
    return "\n".join(lines) + "\n"


def measure(bench, args):
    tables = []

    def add(*what):
        tables.append(table(*what))
        Path(args.out).write_text("\n".join(tables))

    ssa = [args.kubectl, "apply", "--server-side", "--field-manager=hmco-boot", "-f"]
    one = bench.playbook("one", [("objects", ["---\n".join(objects("one"))], "")])
    other = bench.work / "other.yaml"
    other.write_text("---\n".join(objects("other")))
    add("First apply of 300 objects", "Each tool its own 300 of the same make, once; hmco-boot also awaits that they are ready.",
        {"hmco-boot": bench.call(bench.hmco("run", "one", "--yes")), "kubectl apply --server-side": bench.call([*ssa, other])})
    diff = [args.kubectl, "diff", "--server-side", "--field-manager=hmco-boot", "-f"]
    commands = {"hmco-boot": bench.hmco("run", "one"), "kubectl apply --server-side": [*ssa, one], "kubectl diff --server-side": [*diff, one]}
    add("300 objects, nothing to change", f"The same objects for all; median of {args.rounds}.", bench.rounds(commands, args.rounds))
    if args.mirror:
        steps = [(name, [file.read_text() for file in files], more) for name, files, more in upstream(args.mirror)]
        count = sum(len(files) for _, files, _ in steps)
        bench.playbook("upstream", steps)
        add(f"Manifests of {len(steps)} releases", f"{count} files, first apply, until all is ready.", {"hmco-boot": bench.call(bench.hmco("run", "upstream", "--yes"))})
        add("The same, nothing to change", f"Median of {args.rounds}.", bench.rounds({"hmco-boot": bench.hmco("run", "upstream")}, args.rounds))
    print("\n".join(tables))


def main():
    parser = argparse.ArgumentParser()
    for name in ("hmco-boot", "kubectl", "k3s", "work", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--mirror", help="folder with the manifests of releases, for a measurement with those")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    for name in ("hmco_boot", "kubectl", "k3s"):
        setattr(args, name, str(Path(getattr(args, name)).resolve()))
    bench = Bench(args)
    try:
        bench.up()
        measure(bench, args)
    finally:
        bench.down()


if __name__ == "__main__":
    main()
