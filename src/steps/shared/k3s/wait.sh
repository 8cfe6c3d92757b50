# Waits until K3s is up, which is more than its unit being active; ends early where that will not come. Arguments: ROLE NODE (look.sh has them) UNIT
# UNTIL SECONDS ETCD VERSION LASTING...; UNTIL: up; or member = it belongs to the cluster and begins to work, and after that
# rest = up within what is left of those SECONDS; ETCD: 1 = it has to be a voting member of etcd; LASTING: what its journal says
# where waiting does not help.
U=$3 until=$4 limit=$5 etcd=$6 version=$7
shift 7
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
  a= s= i= n=0 j=0
  for l in $(systemctl show --no-pager -p ActiveState -p SubState -p InvocationID -p NRestarts -p Job -- "$U" 2>/dev/null); do
    case $l in
      ActiveState=*) a=${l#*=} ;;
      SubState=*) s=${l#*=} ;;
      InvocationID=*) i=${l#*=} ;;
      NRestarts=*) n=${l#*=} ;;
      Job=*) j=${l#*=} ;;
    esac
  done
}
# When this start began, to since: what the kubelet of the one before told while it was stopped is no news. (A systemd before
# v247 tells no fractions: then what was noted before the start stands.)
begun() {
  [ "$of" != "$i" ] || return 0
  of=$i
  t=$(systemctl show --value --timestamp=us+utc -p ExecMainStartTimestamp -- "$U" 2>/dev/null) || return 0
  set -- $t
  [ $# -lt 3 ] || since=$2T$3Z
}
# Hundredths of a second since boot, to u.
now() {
  read -r u l </proc/uptime
  u=${u%.*}${u#*.}
}
# As long as the look at $1 took, so that a slow machine is not kept busy by being looked at.
nap() {
  now
  t=$((u - $1))
  [ "$t" -ge 10 ] || t=10
  [ "$t" -le 200 ] || t=200
  sleep "$((t / 100)).$(printf %02d $((t % 100)))" 2>/dev/null || sleep 1
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
  begun
  [ -n "$since" ] || return 0
  [ -n "$first" ] || first="$beat $lease"
  for t in "$beat" "$lease"; do
    # Whole seconds are cut off, not rounded.
    case $t in
      '') ;;
      *.*) [ "$t" \< "$since" ] || return 0 ;;
      *) [ "$t" \< "${since%%.*}Z" ] || [ "$t" = "${since%%.*}Z" ] || return 0 ;;
    esac
  done
  [ "$beat $lease" != "$first" ]
}
up() {
  missing=
  if [ "$a" != active ]; then missing="its unit is $a ($s)"; return 1; fi
  # It was told to restart, and is still the one that was there before.
  if [ "${j:-0}" != 0 ]; then missing="its unit has not begun what it was told to do"; return 1; fi
  look
  if [ -n "$trouble" ]; then
    missing="Node $NODE: $trouble"
    [ "$ROLE" = server ] || return 1
    [ "$readyz" = ok ] || serving
    [ "$readyz" = ok ] || missing="/readyz says: $readyz"
    return 1
  fi
  [ "$until" != member ] || return 0
  # Its kubelet has told of itself in this start: that is asked for once.
  [ "$lived" = "$i:$n" ] || ! alive || lived=$i:$n
  if [ "$ready" != True ]; then missing="Node $NODE is not Ready (${ready:-no condition})"; return 1; fi
  if [ "$etcd" = 1 ] && [ "$voter" != True ]; then missing="it is no voting member of etcd yet"; return 1; fi
  if [ -n "$version" ] && [ "$kubelet" != "$version" ]; then missing="Node $NODE still says $kubelet"; return 1; fi
  if [ "$lived" != "$i:$n" ]; then missing="no heartbeat of Node $NODE since the start"; return 1; fi
  [ "$ROLE" != server ] || [ "$readyz" = ok ] || { missing="/readyz says: $readyz"; return 1; }
}
now
end=$((u + limit * 100)) next=$((u + 500)) told= missing= first= lived= of=
unit
count=$n
if [ "$until" != rest ] && { read -r count <"/run/hmco-boot/k3s/$U.count"; } 2>/dev/null; then
  rm -f "/run/hmco-boot/k3s/$U.count"
fi
case $until in
  member) (umask 077 && mkdir -p /run/hmco-boot/k3s && printf '%s\n' "$end $count" >"/run/hmco-boot/k3s/$U.end") ;;
  rest) { read -r end count <"/run/hmco-boot/k3s/$U.end"; } 2>/dev/null || : ;;
esac
while :; do
  now
  looked=$u
  unit
  case $a in
    failed) fail "it failed" ;;
    inactive) fail "it was stopped" ;;
  esac
  # A start by hand begins to count anew.
  [ "$n" -ge "$count" ] || count=0
  [ "$n" -eq "$count" ] || fail "it does not stay up: systemd had to restart it"
  if up; then break; fi
  [ "$missing" = "$told" ] || { told=$missing; printf 'waiting for %s: %s\n' "$U" "$missing"; }
  now
  [ "$u" -lt $end ] || fail "it did not come up within $limit s"
  if [ "$u" -ge $next ] && [ -n "$lasting" ]; then
    next=$((u + 300))
    # Three times the same: not something on the way.
    m=$(cursor=${here:-$cursor} && journal | grep -cF -- "$lasting") || :
    [ "${m:-0}" -lt 3 ] || fail "it will not come up like this"
  fi
  nap "$looked"
done
[ "$until" = member ] || printf '%s is up\n' "$U"
