# What K3s says of itself here, all questions at once. Comes after look.sh, with ROLE and NODE set.
printf 'node=%s\nmember=%s\n' "$NODE" "$(cat /var/lib/rancher/k3s/server/db/etcd/name 2>/dev/null)"
[ "$ROLE" = server ] || exit 0
case $(systemctl is-active k3s 2>/dev/null) in active | activating | reloading | refreshing) ;; *) exit 0 ;; esac
one() { printf '%s=%s\n' "$1" "$(shift; "$@" 2>&1 | tr '\n\r' '  ' | cut -c1-3500)"; }
ask() { kubectl --kubeconfig "$C" --server "$A" --request-timeout 5s get --raw "$1"; }
health() { kubectl --kubeconfig /dev/null --server http://127.0.0.1:2381 --request-timeout 4s get --raw /health; }
one readyz ask /readyz &
one members ask /db/info &
one health health &
wait
