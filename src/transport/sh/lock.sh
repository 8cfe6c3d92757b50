# Takes, renews and gives back the machine's lock.

hb_refuse() {
  hb_frame lock-refused "$1"
  printf '%s' "$2"
  hb_close
  hb_frame end
  hb_close
  exit 0
}

# Sets `job` to a job of run $1 that runs or may yet begin to. Fails where there is none.
hb_lock_worker() {
  for d in "$RUN/jobs/$1"-*; do
    [ -d "$d" ] || continue
    job=${d##*/}
    ! hb_busy "$d" "$job" || return 0
  done
  return 1
}

# $1 run, $2 holder, $3 owner, $4 lease in seconds.
hb_lock() {
  [ -d "$RUN" ] || s=$(umask 022 && mkdir -p -- "$RUN" 2>&1) || hb_refuse cannot "$s"
  turn=0
  while [ $turn -lt 50 ]; do
    turn=$((turn + 1))
    hb_lock_read || continue
    said=taken
    if [ "$l_run" = "$1" ]; then
      said=renewed
    elif [ -n "$l_run" ] && [ "$l_owner" != "$3" ]; then
      if [ "$l_until" -gt "$up" ]; then
        hb_frame lock-held "$l_run" $((l_until - up))
        printf '%s' "$l_holder"
        hb_close
        return
      fi
      if hb_lock_worker "$l_run"; then
        hb_frame lock-working "$l_run" "$job"
        printf '%s' "$l_holder"
        hb_close
        return
      fi
    fi
    if hb_lock_next "$1" "$2" "$3" "$4"; then
      hb_frame "lock-$said"
      hb_close
      return
    fi
  done
  hb_refuse cannot "$RUN/lock is changed by others all the time"
}

# $1 run.
hb_unlock() {
  turn=0
  while [ $turn -lt 50 ]; do
    turn=$((turn + 1))
    hb_lock_read || continue
    if [ "$l_run" != "$1" ] || hb_lock_next '' '' '' 0; then
      hb_frame lock-free
      hb_close
      return
    fi
  done
  hb_refuse cannot "$RUN/lock is changed by others all the time"
}
