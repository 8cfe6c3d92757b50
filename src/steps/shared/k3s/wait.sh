# Waits until K3s is up, which is more than its unit being active; ends early where that will not come. Arguments: ROLE NODE (look.sh has them) UNIT
# SECONDS ETCD VERSION LASTING...; ETCD: 1 = it has to be a voting member of etcd; LASTING: what its journal says where waiting
# does not help.
U=$3 limit=$4 etcd=$5 version=$6
shift 6
# In a sandbox nothing runs.
[ -z "$R" ] || exit 0
cursor= old= since=
# What was said before this wait may be cured by now.
here=$(journalctl -q -n 0 --show-cursor 2>/dev/null | sed -n 's/^-- cursor: //p')
if [ -f "/run/hmco-boot/k3s/$U" ]; then
  { IFS= read -r cursor; IFS= read -r old; IFS= read -r since; } <"/run/hmco-boot/k3s/$U" || :
fi
lasting=$(for p; do printf '%s\n' "$p"; done)
journal() {
  if [ -n "$cursor" ]; then
    journalctl -q --no-pager -o cat -u "$U" --after-cursor "$cursor" 2>&1
  else
    journalctl -q --no-pager -o cat -b -u "$U" -n 400 2>&1
  fi
}
unit() {
  a= s= i= n=0
  for l in $(systemctl show --no-pager -p ActiveState -p SubState -p InvocationID -p NRestarts -- "$U" 2>/dev/null); do
    case $l in
      ActiveState=*) a=${l#*=} ;;
      SubState=*) s=${l#*=} ;;
      InvocationID=*) i=${l#*=} ;;
      NRestarts=*) n=${l#*=} ;;
    esac
  done
}
uptime() {
  read -r u l </proc/uptime
  u=${u%.*}
}
# The evidence, then what happened.
fail() {
  journalctl --sync 2>/dev/null || :
  printf 'journal of %s:\n' "$U" >&2
  journal | grep -v 'level=info msg="\(Active TLS\|Running kube\|Running cloud\|Updated load\|Connected to\|Cluster-Http\)' |
    cut -c1-400 | tail -n 120 | tail -c 40000 >&2
  printf '%s: %s (%s), restarts by systemd: %s\n' "$U" "$a" "$s" "$n" >&2
  [ -z "$missing" ] || printf '%s: missing: %s\n' "$U" "$missing" >&2
  printf '%s: %s\n' "$U" "$1" >&2
  exit 1
}
# Whether the kubelet has told of itself since the start. Times are of this machine's clock, which may be set meanwhile: then a
# further renewal counts.
alive() {
  beats
  [ "$beat $lease" != "$old" ] || return 1
  [ -n "$since" ] || return 0
  [ -n "$first" ] || first="$beat $lease"
  for t in "$beat" "$lease"; do
    [ -z "$t" ] || [ "$t" \< "$since" ] || return 0
  done
  [ "$beat $lease" != "$first" ]
}
up() {
  missing=
  if [ "$a" != active ]; then missing="its unit is $a ($s)"; return 1; fi
  look
  if [ "$ROLE" = server ] && [ "$readyz" != ok ]; then missing="/readyz says: $readyz"; return 1; fi
  if [ -n "$trouble" ]; then missing="Node $NODE: $trouble"; return 1; fi
  if [ "$ready" != True ]; then missing="Node $NODE is not Ready (${ready:-no condition})"; return 1; fi
  if [ "$etcd" = 1 ] && [ "$voter" != True ]; then missing="it is no voting member of etcd yet"; return 1; fi
  if [ -n "$version" ] && [ "$kubelet" != "$version" ]; then missing="Node $NODE still says $kubelet"; return 1; fi
  alive || { missing="no heartbeat of Node $NODE since the start"; return 1; }
}
uptime
end=$((u + limit)) next=$((u + 5)) told= missing= first=
unit
count=$n
while :; do
  unit
  case $a in
    failed) fail "it failed" ;;
    inactive) fail "it was stopped" ;;
  esac
  [ "$n" -lt $((count + 2)) ] || fail "it does not stay up: systemd restarted it $((n - count)) times"
  if up; then break; fi
  [ "$missing" = "$told" ] || { told=$missing; printf 'waiting for %s: %s\n' "$U" "$missing"; }
  uptime
  [ "$u" -lt $end ] || fail "it did not come up within $limit s"
  if [ "$u" -ge $next ] && [ -n "$lasting" ]; then
    next=$((u + 3))
    # Three times the same: not something on the way.
    m=$(cursor=${here:-$cursor} && journal | grep -cF -- "$lasting") || :
    [ "${m:-0}" -lt 3 ] || fail "it will not come up like this"
  fi
  sleep 0.5 2>/dev/null || sleep 1
done
# One that came up in a further try has to stay so; one that came up at once has told of itself since, which takes it seconds.
if [ "$n" -ne "$count" ]; then
  was=$i:$n
  sleep 10
  unit
  [ "$a" = active ] && [ "$i:$n" = "$was" ] || fail "it does not stay up"
fi
printf '%s is up\n' "$U"
