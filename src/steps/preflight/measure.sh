# Measures what facts cannot tell, for K3s: synchronous writes, ports between nodes, whether an address is free, names.
# Set before it: KEY (environment), SYNC, LISTEN, PROBES, ADDRESS, NAMES, WINDOW. Its results: RUN/preflight, whole or not
# at all. Writes at most 6 MB, into one file that is removed again; ends within a minute or so.
umask 077
LC_ALL=C
export LC_ALL
R=${HMCO_BOOT_ROOT-}
[ "$R" != / ] || R=
RUN=$R/run/hmco-boot
WORK=$RUN/jobs/${HMCO_BOOT_JOB-none}
MADE= FILE= LISTENERS=
if [ ! -d "$WORK" ]; then
  WORK=$RUN/preflight.work MADE=1
  rm -rf -- "$WORK"
  mkdir -p -- "$WORK" || exit 1
fi
OUT=$WORK/preflight.new

clean() {
  trap '' TERM HUP INT
  for p in $LISTENERS; do kill "$p" 2>/dev/null; done
  [ -z "$FILE" ] || rm -f -- "$FILE"
  [ -z "$MADE" ] || rm -rf -- "$WORK"
}
trap clean EXIT
trap 'exit 143' TERM HUP INT

has() { command -v "$1" >/dev/null 2>&1; }
tell() { printf '%s\n' "$*" >> "$OUT"; }
# Uptime in hundredths of a second: to `t`.
now() {
  read -r t u < /proc/uptime
  t=${t%.*}${t#*.}
}
limited() {
  if has timeout; then timeout "$@"; else
    shift
    "$@"
  fi
}

# One try at a TCP port: $1 address, $2 port. To `s`: connected, refused, timeout, unroutable, failed and why.
knock() {
  case $TOOL in
    bash) e=$(timeout 4 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>&1) ;;
    curl) e=$(curl -sv --connect-timeout 4 --max-time 5 "telnet://$1:$2" < /dev/null 2>&1) ;;
    nc) e=$(nc -z -v -w 4 "$1" "$2" < /dev/null 2>&1) ;;
  esac
  case $?.$e in
    0.* | *'Connected to'*) s=connected ;;
    *refused*) s=refused ;;
    124.* | 143.* | 28.* | *'timed out'* | *timeout*) s=timeout ;;
    *'No route'* | *unreachable* | *prohibited*) s=unroutable ;;
    *) s="failed ${e%%"$NL"*}" ;;
  esac
}

# $1 name, $2 address, $3 port. While it is refused, the other node may still be about to listen.
probe_tcp() {
  while :; do
    knock "$2" "$3"
    [ "$s" = refused ] || break
    now
    [ "$t" -lt "$END" ] || break
    sleep 1
  done
  tell "port $1 $2 tcp $3 $s"
}

# A host that lets the datagrams in and has nobody at the port says so (ICMP), which the next write then tells.
probe_udp() {
  if [ "$TOOL" != bash ]; then
    tell "port $1 $2 udp $3 untested no bash with timeout"
    return
  fi
  e=$(timeout 6 bash -c 'exec 3<>"/dev/udp/$0/$1" || exit 2
    for i in 1 2 3 4; do printf x >&3 || exit 1; sleep 0.5; done' "$2" "$3" 2>&1)
  case $?.$e in
    0.*) s=silent ;;
    1.*refused*) s=refused ;;
    *'No route'* | *unreachable* | *prohibited*) s=unroutable ;;
    *) s="failed ${e%%"$NL"*}" ;;
  esac
  tell "port $1 $2 udp $3 $s"
}

probes() {
  n=0 p=
  while read -r name address protocol port; do
    [ -n "$name" ] || continue
    "probe_$protocol" "$name" "$address" "$port" < /dev/null &
    p="$p $!" n=$((n + 1))
    if [ $n -ge 32 ]; then
      wait $p
      n=0 p=
    fi
  done <<PROBES
$PROBES
PROBES
  [ -z "$p" ] || wait $p
}

listen() {
  [ -n "$LISTEN" ] || return 0
  if ! has systemd-socket-activate || ! has timeout; then
    tell "untested listen systemd-socket-activate and timeout are not there"
    return
  fi
  for p in $LISTEN; do
    timeout 30 systemd-socket-activate -a -l "$p" /bin/true < /dev/null > /dev/null 2>&1 &
    LISTENERS="$LISTENERS $!"
  done
  tell "listened $LISTEN"
}

# Whether somebody has address $1. On a network of this node ARP tells, also where ping is not answered.
address() {
  route=
  ! has ip || route=$(ip -4 route get "$1" 2>/dev/null)
  case $route in
    local*) tell "address $1 taken by this node itself"; return ;;
  esac
  if has ping; then
    ping -n -c 3 -W 1 "$1" > /dev/null 2>&1
    case $?.$route in
      0.*) tell "address $1 taken answers to ping"; return ;;
      1.* | *.) ;;
      # It could not even ask (no right to, no such option): silence would prove nothing.
      *) tell "address $1 untested ping does not work here"; return ;;
    esac
  elif [ -n "$TOOL" ]; then
    knock "$1" 6443
    case $s in connected | refused) tell "address $1 taken answers on 6443"; return ;; esac
  else
    tell "address $1 untested neither ping nor bash nor curl is there"
    return
  fi
  case $route in
    '') tell "address $1 free no answer (there is no route to it)"; return ;;
    *' via '*) tell "address $1 free no answer (another network: asked by ping only)"; return ;;
  esac
  i=0
  while [ $i -lt 9 ]; do
    neighbour=$(ip neigh show to "$1" 2>/dev/null)
    case $neighbour in
      *lladdr*REACHABLE* | *lladdr*PERMANENT*)
        mac=${neighbour##*lladdr }
        tell "address $1 taken by ${mac%% *} (ARP)"
        return
        ;;
      '' | *FAILED*) break ;;
    esac
    i=$((i + 1))
    sleep 1
  done
  tell "address $1 free no answer to ARP and ping"
}

names() {
  for name in $NAMES; do
    if ! has getent; then
      tell "name $name untested getent is not there"
    elif e=$(limited 10 getent hosts "$name" 2>&1); then
      tell "name $name found ${e%%"$NL"*}"
    else
      tell "name $name failed"
    fi
  done
}

# `copied, 0.0123 s,` of GNU dd in microseconds: to `us`. Fails where nothing of the kind is told: that is not "no time".
microseconds() {
  case $1 in *'copied, '*' s'*) ;; *) return 1 ;; esac
  us=${1##*copied, }
  us=${us%% s*}
  case $us in
    *[0-9]e-[0-9]*) us=0; return ;;
    '' | *[!0-9.]*) return 1 ;;
  esac
  f=${us#*.} us=${us%%.*}
  [ "$f" != "$us" ] || f=0
  f=$(printf '%.6s' "${f}000000")
  us=$((us * 1000000 + 1$f - 1000000))
}

# Synchronous writes of 2300 bytes each (about an entry of etcd's log) on the file system of etcd's folder: batch means,
# which hide single slow writes.
sync_write() {
  [ -n "$SYNC" ] || return 0
  d=$R/var/lib/rancher/k3s/server/db/etcd
  while [ -n "$d" ] && [ ! -d "$d" ]; do d=${d%/*}; done
  d=${d:-/}
  set -- $(df -kP "$d" 2>/dev/null | tail -n 1)
  case ${4-} in
    '' | *[!0-9]*) tell "untested sync-write df tells nothing of $d"; return ;;
  esac
  if [ "$4" -lt 65536 ]; then
    tell "untested sync-write less than 64 MiB are free on $d"
    return
  fi
  FILE=${d%/}/.hmco-boot-preflight
  # Whoever ends this job by force finds it here and removes it.
  [ -n "$MADE" ] || printf '%s\n' "$FILE" >> "$WORK/temps"
  rm -f -- "$FILE"
  set -C
  if ! { true > "$FILE"; } 2>/dev/null; then
    set +C
    tell "untested sync-write $d cannot be written"
    FILE=
    return
  fi
  set +C
  now
  batches=0 count=25 writes=0 total=0 worst=0 stop=$((t + 500))
  while [ $batches -lt 12 ] && [ "$t" -lt $stop ]; do
    e=$(limited 30 dd if=/dev/zero of="$FILE" bs=2300 count=$count oflag=dsync conv=notrunc 2>&1)
    case $? in
      0)
        if ! microseconds "$e"; then
          tell "untested sync-write dd does not tell how long it took"
          break
        fi
        ;;
      # It took longer than its limit: at least that, which is an answer.
      124 | 143) us=30000000 stop=0 ;;
      *)
        tell "untested sync-write ${e%%"$NL"*}"
        break
        ;;
    esac
    total=$((total + us)) writes=$((writes + count)) us=$((us / count))
    [ $us -le $worst ] || worst=$us
    batches=$((batches + 1))
    # A fast disk is asked more, so that a batch is more than a moment.
    [ $us -ge 2000 ] || count=200
    now
  done
  [ $batches -eq 0 ] || tell "sync-write $d $batches $writes $((total / writes)) $worst"
  rm -f -- "$FILE"
  FILE=
}

NL='
'
: > "$OUT"
read -r boot < /proc/sys/kernel/random/boot_id
tell "hmco-boot preflight 1"
tell "boot $boot"
tell "key $KEY"
TOOL=
if has bash && has timeout; then TOOL=bash; elif has curl; then TOOL=curl; elif has nc; then TOOL=nc; fi
now
END=$((t + WINDOW * 100))
listen
prober=
if [ -n "$PROBES" ]; then
  if [ -n "$TOOL" ]; then
    probes < /dev/null &
    prober=$!
  else
    tell "untested ports neither bash nor curl nor nc is there"
  fi
fi
[ -z "$ADDRESS" ] || address "$ADDRESS"
names
[ -z "$prober" ] || wait $prober
# Now that nothing else goes on here, and while the others may still want to connect.
sync_write
now
while [ -n "$LISTENERS" ] && [ "$t" -lt "$END" ]; do
  sleep 1
  now
done
now
tell "uptime $t"
tell end
mv -f -- "$OUT" "$RUN/preflight" && cat "$RUN/preflight"
