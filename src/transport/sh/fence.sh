# The state of the machine's lock. It is the newest of the files RUN/lock.N (N counts up from 1; lines "KEY VALUE"). A
# file, once there, never changes, and the next one is made by a hard link, which lets one of two through: whoever decides
# by what was read knows that nothing came between. Old files go long after new ones came, so that nobody slow finds a
# number free that was taken. No process holds anything meanwhile, so none can die with it. RUN/lock is the newest state
# for people and facts, and is missing while the lock is free.

# States that are kept.
STATES=32

# Sets `gen` to the number of the newest state.
hb_lock_newest() {
  gen=0
  for f in "$RUN"/lock.*; do
    n=${f##*/lock.}
    case $n in '' | *[!0-9]*) continue ;; esac
    [ "$n" -le "$gen" ] || gen=$n
  done
}

# Sets `gen`, what the newest state says (`l_run` empty: free), and `up` to the seconds that the machine is up.
hb_lock_read() {
  l_run= l_holder= l_owner= l_boot= l_lease=0 l_until=0
  read -r up n < /proc/uptime
  up=${up%%.*}
  hb_lock_newest
  [ "$gen" -gt 0 ] || return 0
  {
    while read -r k v; do
      case $k in
        run) l_run=$v ;;
        holder) l_holder=$v ;;
        owner) l_owner=$v ;;
        boot) l_boot=$v ;;
        lease) l_lease=$v ;;
        until) l_until=$v ;;
      esac
    done < "$RUN/lock.$gen"
  } 2>/dev/null || return
  [ "$l_boot" = "$BOOT_ID" ] || l_run=
}

# Makes the state after the one that was read: $1 run (empty: free), $2 holder, $3 owner, $4 lease. Fails where somebody
# else was faster.
hb_lock_next() {
  new=$RUN/lock-new.$$ next=$((gen + 1))
  { printf 'run %s\nholder %s\nowner %s\nboot %s\nlease %s\nuntil %s\n' "$1" "$2" "$3" "$BOOT_ID" "$4" $((up + $4)) > "$new"; } 2>/dev/null ||
    hb_refuse cannot "$new cannot be written"
  if ! s=$(ln -- "$new" "$RUN/lock.$next" 2>&1); then
    rm -f -- "$new"
    [ -e "$RUN/lock.$next" ] || hb_refuse cannot "$s"
    return 1
  fi
  # The number may have been free because it was taken long ago.
  hb_lock_newest
  if [ "$gen" != "$next" ]; then
    rm -f -- "$new"
    return 1
  fi
  if [ -n "$1" ]; then
    mv -f -- "$new" "$RUN/lock"
  else
    rm -f -- "$new" "$RUN/lock"
  fi
  for f in "$RUN"/lock.*; do
    n=${f##*/lock.}
    case $n in '' | *[!0-9]*) continue ;; esac
    [ "$n" -gt $((next - STATES)) ] || rm -f -- "$f"
  done
}

# Refuses where run $1 does not hold the lock. Our job's folder is there already, so whoever comes for the lock when its
# time is over finds us at work. Where it is over (or soon), it lasts longer from now on, or we find that they were faster.
hb_fence() {
  i=0
  while [ $i -lt 50 ]; do
    i=$((i + 1))
    hb_lock_read || continue
    [ "$l_run" = "$1" ] || hb_refuse "fenced $l_run" "$l_holder"
    [ $((l_until - up)) -le $((l_lease / 2)) ] || return 0
    ! hb_lock_next "$l_run" "$l_holder" "$l_owner" "$l_lease" || return 0
  done
  hb_refuse cannot "$RUN/lock is changed by others all the time"
}
