#!/bin/bash
# firststart.sh [unit] [limit in s]: starts the unit and prints a line whenever something has changed, until the unit is
# active and the node Ready. The columns are those of the recordings' README.
unit=${1:-k3s}
limit=${2:-300}
T=/var/lib/rancher/k3s/server/tls
get() { curl -sk -m 3 "$@"; }

systemctl start --no-block "$unit"
begun=${EPOCHREALTIME/./}
before=
while :; do
  ms=$(((${EPOCHREALTIME/./} - begun) / 1000))
  state=$(systemctl show -p NRestarts,ActiveState,SubState --value "$unit" | tr '\n' ' ')
  anonymous=$(get -w ' http=%{http_code} ' https://127.0.0.1:6443/readyz | tr -d ' \n')
  ping=$(get -w ' http=%{http_code}' https://127.0.0.1:6443/ping | head -c 83)
  admin=$(get -w ' http=%{http_code}' --cert $T/client-admin.crt --key $T/client-admin.key https://127.0.0.1:6443/readyz |
    tr -d '\n' | tail -c 60)
  node=$(timeout 5 kubectl get node "$(hostname)" \
    -o jsonpath='{.kind}:{.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null)
  files=$(ls /var/lib/rancher/k3s/server/token /etc/rancher/k3s/k3s.yaml 2>/dev/null | wc -l)
  message=$(grep -o '"message":"[^"]*"' <<<"$anonymous")
  line="$state| anon /readyz: $message http=${anonymous##*http=}  | /ping: $ping | admin /readyz: $admin"
  line+=" | node: $node | token+kubeconfig files: $files"
  [ "$line" != "$before" ] && echo "$ms ms  $line"
  before=$line
  case "$state $node" in *" active running "*" Node:True") break ;; esac
  [ "$ms" -gt $((limit * 1000)) ] && break
  sleep 0.1
done
