# Starts, restarts or reloads a unit, proves that it stays up, and records what it was started with. POSIX sh.
# Arguments: VERB UNIT LIMIT SETTLE WAIT INPUT...; LIMIT and SETTLE in hundredths of a second.
export LC_ALL=C TZ=UTC SYSTEMD_COLORS=0
N='
'
R=${HMCO_BOOT_ROOT-}
V=$1 U=$2 limit=$3 settle=$4 wait=$5
shift 5

# Hundredths of a second since boot, to u.
now() {
  read -r u l </proc/uptime
  u=${u%.*}${u#*.}
}
nap() { sleep 0.2 2>/dev/null || sleep 1; }

# Whether process $1 runs.
alive() {
  { read -r l <"/proc/$1/stat"; } 2>/dev/null || return 1
  case ${l##*') '} in Z* | X*) return 1 ;; esac
}

# The unit's state.
look() {
  a= s= r= i= n=0 j=0 t= e= k= x= c= m= ever=0
  o=$(systemctl show --no-pager -p ActiveState -p SubState -p Result -p InvocationID -p NRestarts -p Job -p Type -p CanReload \
    -p RemainAfterExit -p ExecMainCode -p ExecMainStatus -p ConditionResult -p ConditionTimestampMonotonic -- "$U" 2>&1) || fail "systemd does not tell its state: $o"
  set -f
  IFS=$N
  for l in $o; do
    case $l in
      ActiveState=*) a=${l#*=} ;;
      SubState=*) s=${l#*=} ;;
      Result=*) r=${l#*=} ;;
      InvocationID=*) i=${l#*=} ;;
      NRestarts=*) n=${l#*=} ;;
      Job=*) j=${l#*=} ;;
      Type=*) t=${l#*=} ;;
      RemainAfterExit=*) e=${l#*=} ;;
      CanReload=*) c=${l#*=} ;;
      ExecMainCode=*) k=${l#*=} ;;
      ExecMainStatus=*) x=${l#*=} ;;
      ConditionResult=*) m=${l#*=} ;;
      ConditionTimestampMonotonic=*) ever=${l#*=} ;;
    esac
  done
  unset IFS
  set +f
  # systemd forgets a unit that nobody needs as soon as it has ended, and then has never looked at its conditions.
  [ "$ever" != 0 ] || m=
}

# How often in this boot the unit was left out because of a condition, to q. systemd may remember nothing of a oneshot
# that has ended; by the words of systemd 247 to 257, because the message's id is that of any start.
skipped() {
  q=0
  [ "$t" = oneshot ] && [ "$e" != yes ] || return 0
  journalctl --sync 2>/dev/null
  q=$(journalctl --no-pager -q -b -o cat -u "$U" _PID=1 2>/dev/null |
    grep -cE 'skipped because of an unmet condition|Condition check resulted in .* being skipped')
}

# The evidence, then what happened: of a long output the last lines are what people see.
fail() {
  why=$1
  if [ -n "${a-}" ]; then
    journalctl --sync 2>/dev/null
    printf 'journal of %s:\n' "$U" >&2
    journalctl --no-pager -q -b -o cat -n 20 -u "$U" 2>&1 | tail -c 16384 >&2
    grep -v '^See ' "$said" >&2
    look
    printf '%s: %s (%s), result %s\n' "$U" "$a" "$s" "${r:-unknown}" >&2
    case $k in
      1) printf '%s: its program ended with exit status %s\n' "$U" "$x" >&2 ;;
      2 | 3) printf '%s: its program was ended by signal %s\n' "$U" "$x" >&2 ;;
    esac
    [ "${n:-0}" = 0 ] || printf '%s: restarts by systemd since it was started: %s\n' "$U" "$n" >&2
    [ "$m" != no ] || printf '%s: a condition of the unit (Condition...=) does not hold\n' "$U" >&2
  fi
  printf '%s: %s\n' "$U" "$why" >&2
  rm -f -- "$said"
  exit 1
}

# The identity of input $1, to l: while it is the same, so is the content.
identity() {
  l=absent
  [ ! -f "$R$1" ] || l=$(stat -c '%i:%s:%y:%z' "$R$1") || fail "$1 cannot be read"
}

# The sha256 of input $1, to d.
digest() {
  d=$(sha256sum <"$R$1") || fail "$1 cannot be read"
  d=${d%% *}
}

# What the inputs hold now, before the start, a line each: whatever is written later shows as a difference.
inputs() {
  found=
  for p; do
    identity "$p"
    d=absent
    if [ "$l" != absent ]; then
      size=${l#*:}
      # A large one takes a while, and is read while the unit starts already (`rest`).
      if [ "${size%%:*}" -gt 4194304 ]; then d=large; else digest "$p"; fi
    fi
    found="$found$d $l$N"
  done
}

# The text of the record. A large input that is by its identity still the same file was the same before the start.
rest() {
  read -r salt </proc/sys/kernel/random/uuid
  text="salt $salt"
  for p; do
    o=${found%%"$N"*} found=${found#*"$N"}
    d=${o%% *} o=${o#* }
    if [ "$d" = large ]; then
      [ ! -f "$R$p" ] || digest "$p"
      identity "$p"
      [ "$l" = "$o" ] || d=changed
    fi
    d=$(printf '%s:%s' "$salt" "$d" | sha256sum)
    text="$text${N}input ${d%% *} $(printf %s "$o" | tr ' ' _) $p"
  done
}

# Keeps the record, in this boot and beyond it.
record() {
  keep "$R/run/hmco-boot/stamp"
  keep "$R/var/lib/hmco-boot/stamp"
}

# Keeps the record in folder $1, whole or not at all.
keep() {
  (umask 077 && mkdir -p -- "$1" && printf '%s\ninvocation %s\n' "$text" "$i" >"$1/.$U.new") &&
    { sync "$1/.$U.new" 2>/dev/null; mv -f -- "$1/.$U.new" "$1/$U"; } || fail "$1 cannot be written, so what it runs with is not on record"
}

# Whether it is as a start should leave it.
is_up() {
  case $a in
    active | reloading | refreshing) return 0 ;;
    activating) [ "$wait" = 0 ] && case $s in auto-restart*) return 1 ;; esac ;;
    inactive) [ "$t" = oneshot ] && [ "$e" != yes ] && [ "$r" = success ] && [ "$m" != no ] ;;
    *) return 1 ;;
  esac
}

[ -d "$R/run/systemd/system" ] || { printf 'systemd is not running here\n' >&2; exit 1; }
# What systemctl says is told after the journal.
said="$R/run/hmco-boot/stamp/.$U.said"
(umask 077 && mkdir -p -- "$R/run/hmco-boot/stamp" && : >"$said") || exit 1
look
before=$i
[ "$V" != reload ] || [ "$c" = yes ] || fail "it cannot be reloaded (its unit has no ExecReload): use on_change = \"restart\""
# A start limit that was hit would refuse every start.
[ "$a" != failed ] || systemctl reset-failed -- "$U" 2>>"$said"
inputs "$@"
skipped
skips=$q
now
end=$((u + limit))
if [ "$wait" = 1 ]; then
  systemctl "$V" -- "$U" 2>>"$said" &
  started=$!
  rest "$@"
  while alive $started; do
    now
    if [ "$u" -ge $end ]; then
      kill $started
      look
      # It goes on starting, and with what is known: the next run can wait for it instead of starting over.
      if [ "$a" = activating ] && [ "$i" != "$before" ]; then record; fi
      fail "$V has not come to its end in time: it is still $a ($s)"
    fi
    nap
  done
  wait $started || fail "$V did not succeed"
  look
else
  systemctl --no-block "$V" -- "$U" 2>>"$said" || fail "$V did not succeed"
  rest "$@"
  look
  # A restart is on its way when it is another start than before. In the middle of one a unit whose program ended badly is
  # failed for a moment, with its job still queued.
  while ! is_up || { [ "$V" = restart ] && [ "$i" = "$before" ] && [ "$a" != inactive ]; }; do
    now
    [ "$u" -lt $end ] && { [ "$a" != failed ] || [ "${j:-0}" != 0 ]; } || fail "$V did not begin"
    nap
    look
  done
fi
case $s in auto-restart*) [ "$wait" = 0 ] || fail "it does not stay up" ;; esac
is_up || fail "it is not up after the $V"
skipped
[ "$q" -le "$skips" ] || fail "it was not run: a condition of the unit (Condition...=) does not hold"
if [ "$a" != inactive ]; then
  first=$i count=$n
  now
  end=$((u + settle))
  while [ "$u" -lt $end ]; do
    nap
    look
    is_up && [ "$i" = "$first" ] && [ "$n" = "$count" ] || fail "it does not stay up"
    now
  done
fi
record
rm -f -- "$said"
