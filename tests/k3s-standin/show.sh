#!/usr/bin/env bash
# What the stand-in can do, by plain commands of K3s on rehearsal nodes: three servers and an agent join, Secrets are
# encrypted with a new key the classic way (prepare, rotate, reencrypt, with restarts), a snapshot is taken and restored,
# and two servers rejoin. Each result is looked at; the first wrong one ends the script with status 1.
#
#   K3S=PATH HMCO_BOOT=PATH show.sh       LAB=name of the lab (show), KEEP=1 leaves the nodes up
#
# hmco-boot only makes the nodes (`lab up`) and opens ssh to them. It works with a real K3s, too, where nodes can run one.
set -euo pipefail
cd "$(dirname "$0")"
k3s=$(realpath -e "${K3S:?K3S=PATH names the K3s to show}")
hb=${HMCO_BOOT:-hmco-boot}
lab=${LAB:-show}
unit=conformance/internal/lab/node/k3s.service
data=/var/lib/rancher/k3s/server
scratch=$(mktemp -d)

finish() {
  local status=$?
  trap - EXIT
  rm -rf "$scratch"
  if [ -n "${KEEP:-}" ]; then
    echo "The nodes stay up: $hb lab --name $lab down"
  else
    (cd / && "$hb" lab --name "$lab" down >/dev/null) || status=1
  fi
  [ "$status" = 0 ] || echo "FAILED after $SECONDS s, $checks checks" >&2
  exit "$status"
}
trap finish EXIT
checks=0

# on NUMBER COMMAND: a shell command on a node, as root.
on() { (cd / && exec "$hb" lab --name "$lab" ssh "$lab-$1" -- "bash -c $(printf %q "$2")"); }

# show NUMBER COMMAND: the same, with the command shown; it has to succeed.
show() {
  printf '\n%s# %s\n' "$lab-$1" "$2"
  on "$1" "$2" </dev/null 2>&1 | sed 's/^/    /'
}

fail() {
  printf '\nerror: %s\n' "$*" >&2
  exit 1
}

# want WHAT WANTED FOUND
want() {
  [ "$2" = "$3" ] || fail "$1: '$3', not '$2'"
  checks=$((checks + 1))
  printf '    ok: %s: %s\n' "$1" "$3"
}

# until_true SECONDS WHAT NUMBER COMMAND: waits until a command succeeds on a node.
until_true() {
  local end=$((SECONDS + $1))
  until on "$3" "$4" >"$scratch/last" 2>&1 </dev/null; do
    [ "$SECONDS" -lt "$end" ] || fail "not within $1 s: $2"$'\n'"$(tail -n 5 "$scratch/last")"
    sleep 0.5
  done
  checks=$((checks + 1))
  printf '    ok: %s\n' "$2"
}

chapter() { printf '\n==> %s (%d s so far)\n' "$1" "$SECONDS"; }

nodes() { on "$1" "kubectl get nodes -o jsonpath='{range .items[*]}{.metadata.name}{\" \"}{.status.conditions[?(@.type==\"$2\")].status}{\"\\n\"}{end}'" | sort; }
# voters SERVERS: waits until etcd has that many members, and no learner among them.
voters() {
  until_true 90 "$1 members vote" 1 "info=\$(curl -sk https://127.0.0.1:6443/db/info) && [ \"\$(grep -o peerURLs <<<\"\$info\" | wc -l)\" = $1 ] && ! grep -q isLearner <<<\"\$info\""
}
status_field() { on "$1" "k3s secrets-encrypt status -o json" | sed -n "s/^\t\"$2\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}$/\1/p"; }

# restart NUMBER: and waits until commands are answered again; they fail for some seconds.
restart() {
  show "$1" 'systemctl restart k3s'
  until_true 60 "$lab-$1 answers" "$1" 'k3s secrets-encrypt status && kubectl get --raw /readyz'
}

chapter 'Nodes'
(cd / && "$hb" lab up --name "$lab" --servers 3 --agents 1 --user root --no-inventory)
for number in 1 2 3 4; do
  on "$number" 'cat >/usr/local/bin/k3s && chmod 755 /usr/local/bin/k3s && ln -sf k3s /usr/local/bin/kubectl' <"$k3s"
  on "$number" 'cat >/etc/systemd/system/k3s.service' <"$unit"
  sed 's/k3s server/k3s agent/' "$unit" | on "$number" 'cat >/etc/systemd/system/k3s-agent.service'
  on "$number" 'mkdir -p -m 700 /etc/rancher/k3s && systemctl daemon-reload' </dev/null
done
first=$(on 1 'hostname -I' </dev/null | cut -d' ' -f1)
want 'version on node 4' "$("$k3s" --version | head -n 1)" "$(on 4 'k3s --version' </dev/null | head -n 1)"

chapter 'Three servers and an agent join'
# config NUMBER LINE...: config.yaml; tokens go by standard input.
config() {
  local number=$1
  shift
  printf '%s\n' "$@" | on "$number" 'umask 077; cat >/etc/rancher/k3s/config.yaml'
}
token=show-$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')
config 1 'cluster-init: true' "token: $token" 'secrets-encryption: true'
for number in 2 3; do config "$number" "server: https://$first:6443" "token: $token" 'secrets-encryption: true'; done
config 4 "server: https://$first:6443" "token: $token"
for number in 1 2 3; do
  show "$number" 'systemctl start k3s'
  voters "$number"
done
show 4 'systemctl start k3s-agent'
until_true 60 'the agent is ready' 1 "kubectl wait --for=condition=ready node/$lab-4 --timeout=1s"
show 1 'kubectl get nodes'
want 'nodes that are ready' "$(printf '%s True\n' "$lab-1" "$lab-2" "$lab-3" "$lab-4")" "$(nodes 1 Ready </dev/null)"
show 2 'kubectl create secret generic canary --from-literal=word=sung'
read_canary="kubectl get secret canary -o jsonpath='{.data.word}' | base64 -d"
for number in 1 2 3; do want "a Secret of $lab-2, read on $lab-$number" sung "$(on "$number" "$read_canary" </dev/null)"; done

chapter 'A new encryption key, the classic way'
until_true 60 'status answers' 1 'k3s secrets-encrypt status'
old=$(status_field 1 activekey </dev/null)
want 'stage' start "$(status_field 1 stage </dev/null)"
for step in prepare rotate reencrypt; do
  show 1 "k3s secrets-encrypt $step"
  stage=$step
  if [ "$step" = reencrypt ]; then
    stage=reencrypt_finished
    until_true 60 'all Secrets are written anew' 1 'k3s secrets-encrypt status -o json | grep -q reencrypt_finished'
  fi
  for number in 1 2 3; do restart "$number"; done
  for number in 1 2 3; do
    want "stage on $lab-$number" "$stage" "$(status_field "$number" stage </dev/null)"
    want "hashes match on $lab-$number" true "$(status_field "$number" hashmatch </dev/null)"
    want "the Secret on $lab-$number" sung "$(on "$number" "$read_canary" </dev/null)"
  done
done
show 1 'k3s secrets-encrypt status'
new=$(status_field 1 activekey </dev/null)
[ "$new" != "$old" ] || fail "the active key is still $old"
want 'keys in the configuration' "$new" "$(on 1 "grep -o '\"name\":\"[^\"]*\"' $data/cred/encryption-config.json | cut -d'\"' -f4" </dev/null)"

chapter 'A snapshot'
show 1 'kubectl create configmap before'
show 1 'k3s etcd-snapshot save --name shown'
snapshot=$(on 1 "ls $data/db/snapshots/shown-*" </dev/null)
want 'its size after 512-byte blocks (the SHA-256)' 32 "$(on 1 "expr \$(stat -c %s $snapshot) % 512" </dev/null)"
show 1 'kubectl create configmap after'

chapter 'Restore on one server'
for number in 3 2 1; do
  show "$number" 'systemctl stop k3s'
  want "$lab-$number" inactive "$(on "$number" 'systemctl is-active k3s || true' </dev/null)"
done
show 1 "k3s server --cluster-reset --cluster-reset-restore-path=$snapshot 2>&1 | grep -E 'Pre-restore|membership has been reset'"
show 1 'systemctl start k3s'
until_true 60 'the API answers' 1 'kubectl get --raw /readyz'
show 1 'kubectl get configmap before'
want 'what came after the snapshot' 0 "$(on 1 'kubectl get configmap -o name' </dev/null | grep -c '^configmap/after$' || true)"
want 'the Secret' sung "$(on 1 "$read_canary" </dev/null)"

chapter 'Two servers rejoin'
for number in 2 3; do
  show "$number" "mv $data/db $data/db-before-restore && systemctl start k3s"
  voters "$number"
done
until_true 60 'status answers' 1 'k3s secrets-encrypt status'
want 'key after the restore' "$new" "$(status_field 1 activekey </dev/null)"
for number in 1 2 3; do
  show "$number" "kubectl create configmap from-$number"
  want "the Secret on $lab-$number" sung "$(on "$number" "$read_canary" </dev/null)"
done
want 'the agent' active "$(on 4 'systemctl is-active k3s-agent' </dev/null)"
until_true 90 'all nodes have reported since' 1 "[ \"\$(kubectl get nodes --no-headers | grep -c ' Ready ')\" = 4 ]"
show 1 'kubectl get nodes'

printf '\nAll as it should be: %d checks, %d s.\n' "$checks" "$SECONDS"
