# What the attached shell, the job and its watchdog have in common. Lines that are comments are not sent.
#
# A job's folder RUN/jobs/ID (0700) holds: `boot` (boot id), `starter` (the attached shell), `pid` (the job), `guard`
# (its watchdog), each "PID STARTTIME"; `claim` (taken by the job before its first action, or by whoever declares it
# dead before that: only one of them gets it); `verdict` (taken by whoever is going to write the status); `status`;
# `stdout.OFFSET`, `stderr.OFFSET` with `stdout.cur`, `stderr.cur` ("PREVIOUS CURRENT"); `temps` (paths of temporary
# files in destination folders); `payload.N` (contents whose destination folder does not exist yet).
#
# A process is known by its number AND start time, so that a number that was given away again deceives nobody.

NL='
'
read -r BOOT_ID < /proc/sys/kernel/random/boot_id

# Sets `t` to the start time of process $1; empty where it is gone or a zombie.
hb_start() {
  t=
  { read -r l < "/proc/$1/stat"; } 2>/dev/null || return 0
  set -- ${l##*') '}
  case ${1-Z} in Z | X) ;; *) t=${20-} ;; esac
}

# Writes this shell, or process $2, into file $1.
hb_sign() {
  hb_start "${2-$$}"
  printf '%s %s\n' "${2-$$}" "$t" > "$1"
}

# Whether the process that signed file $2 of the job's folder $1 is alive. Sets `p` to its number.
hb_alive() {
  b= p= q=
  { read -r b < "$1/boot" && read -r p q < "$1/$2"; } 2>/dev/null
  [ -n "$q" ] && [ "$b" = "$BOOT_ID" ] || return 1
  hb_start "$p"
  [ "$t" = "$q" ]
}

# Makes file $1; fails where it exists.
hb_take() {
  set -C
  { true > "$1"; } 2>/dev/null
  set -- $?
  set +C
  return "$1"
}

# Whether process group $2 has live processes that carry the mark of job $1.
hb_members() {
  [ -n "$2" ] || return 1
  for f in /proc/[0-9]*; do
    { read -r l < "$f/stat"; } 2>/dev/null || continue
    set -- "$1" "$2" ${l##*') '}
    [ "${5-}" = "$2" ] && [ "$3" != Z ] && [ "$3" != X ] || continue
    { tr '\0' '\n' < "$f/environ" | grep -qxF "HMCO_BOOT_JOB=$1"; } 2>/dev/null && return 0
  done
  return 1
}

hb_nap() {
  sleep 0.2 2>/dev/null || sleep 1
}

# Whether job $2 in folder $1 runs or may yet begin to. One that is dead before its first action is made to stay so.
hb_busy() {
  [ ! -s "$1/status" ] || return 1
  # A folder that is being made gets a moment to be signed.
  i=0
  while [ ! -s "$1/starter" ] && [ ! -e "$1/claim" ] && [ -d "$1" ] && [ $i -lt 5 ]; do
    i=$((i + 1))
    hb_nap
  done
  if hb_alive "$1" starter && [ "$p" != $$ ] && [ ! -e "$1/claim" ]; then return 0; fi
  ! hb_alive "$1" pid || return 0
  leader=
  [ "$b" != "$BOOT_ID" ] || leader=$p
  if [ -e "$1/verdict" ] && hb_alive "$1" guard; then return 0; fi
  # The leader was killed and what it had started goes on.
  ! hb_members "$2" "$leader" || return 0
  ! hb_take "$1/claim" || return 1
  hb_alive "$1" pid
}

# Ends process group $2 of job $1: asks, then after $3 naps insists. Fails where something outlives that.
hb_end() {
  kill -TERM "-$2" 2>/dev/null
  i=0
  while hb_members "$1" "$2"; do
    [ $i -lt "$3" ] || kill -KILL "-$2" 2>/dev/null
    [ $i -lt $(($3 + 50)) ] || return 1
    i=$((i + 1))
    hb_nap
  done
}

# Removes the temporary files that the job in folder $1 left in destination folders.
hb_sweep() {
  [ -s "$1/temps" ] || return 0
  while IFS= read -r f; do
    if [ -e "$f" ] || [ -L "$f" ]; then rm -f -- "$f"; fi
  done < "$1/temps"
}

# Frames: begin with a name and arguments, end with a status.
hb_frame() {
  printf '\n%s < %s\n' "$D" "$*"
}
hb_close() {
  printf '\n%s > %s\n' "$D" "${1-0}"
}

# Sets `g0` and `g1` to the offsets of the former and the present piece of stream $2 of the job in folder $1.
hb_pieces() {
  g0= g1=0
  if [ -e "$1/$2.cur" ]; then { IFS=, read -r g0 g1 < "$1/$2.cur"; } 2>/dev/null; fi
  g1=${g1:-0}
}

# Sets `n` to the size of file $1.
hb_size() {
  n=0
  [ ! -s "$1" ] || n=$(($(wc -c < "$1")))
}

# Prints what stream $2 of the job in folder $1 has from offset $3 on; sets `at` to where it ends.
hb_news() {
  at=$3
  hb_pieces "$1" "$2"
  for g in $g0 $g1; do
    hb_size "$1/$2.$g" 2>/dev/null
    [ "$at" -ge "$g" ] || at=$g
    [ $((g + n)) -gt "$at" ] || continue
    hb_frame "job-$2" "$at"
    tail -c "+$((at - g + 1))" "$1/$2.$g" 2>/dev/null | head -c $((g + n - at))
    hb_close || exit 1
    at=$((g + n))
  done
}

# Prints the news of both streams of the job in folder $1 about once a second, until told to stop by TERM.
hb_stream() {
  stop= o=0 e=0
  trap 'stop=1' TERM
  while [ -z "$stop" ]; do
    sleep 1 </dev/null >/dev/null 2>&1 &
    wait $!
    # `$$` is the attached shell, also in here: without it nobody will ever say stop.
    [ -z "$stop" ] && [ -d "/proc/$$" ] || return 0
    hb_news "$1" stdout $o
    o=$at
    hb_news "$1" stderr $e
    e=$at
  done
}

# Prints the last $3 bytes of stream $2 of the job in folder $1, and how many there were.
hb_last() {
  hb_pieces "$1" "$2"
  hb_size "$1/$2.$g1" 2>/dev/null
  hb_frame "job-last-$2" $((g1 + n))
  if [ -n "$g0" ]; then
    cat "$1/$2.$g0" "$1/$2.$g1" 2>/dev/null | tail -c "$3"
  elif [ "$n" -gt 0 ]; then
    tail -c "$3" "$1/$2.$g1"
  fi
  hb_close
}

# Prints how the job in folder $1 ended.
hb_verdict() {
  hb_last "$1" stdout "$2"
  hb_last "$1" stderr "$2"
  s=lost
  { read -r s < "$1/status"; } 2>/dev/null
  hb_frame job-end "${s:-lost}"
  hb_close
}

# Everything has been printed; the job's folder goes when the other side has it.
hb_goodbye() {
  hb_frame end
  hb_close
  IFS= read -r s && [ "$s" = ok ] || return 0
  hb_never
  rm -rf -- "$HERE"
}

# No job of this id shall begin from now on.
hb_never() {
  printf '%s\n' "$ID" >> "$RUN/ended"
}

# Copies exactly $1 bytes from standard input to descriptor 7. Talk of the tool goes to standard output.
hb_bytes() {
  r=$(($1 % 65536))
  if [ "$1" -ge 65536 ]; then dd bs=65536 count=$(($1 / 65536)) iflag=fullblock conv=fsync 2>&1 >&7 || return; fi
  [ $r -eq 0 ] || dd bs=$r count=1 iflag=fullblock conv=fsync 2>&1 >&7
}

# Whether $1 is a file of $2 bytes with sha256 $3. Sets `n` and `s` to what it is.
hb_is() {
  n=0 s=
  [ -f "$1" ] && [ ! -L "$1" ] || return 1
  hb_size "$1"
  [ "$n" -eq "$2" ] || return 1
  s=$(sha256sum < "$1")
  s=${s%% *}
  [ "$s" = "$3" ]
}

# Prints what changes when file $1 is written, and stays when it is renamed.
hb_identity() {
  stat -c '%i %s %y' -- "$1" 2>/dev/null
}

# Whether the disk of folder $1 has room for $2 bytes more and a reserve. Sets `free` to its free bytes.
hb_room() {
  free=$(df -Pk -- "$1" 2>/dev/null | tail -n 1)
  set -- "$1" "$2" $free
  case ${6-} in
    '' | *[!0-9]*) free=; return 0 ;;
  esac
  free=$(($6 * 1024))
  [ $(($2 + 8388608)) -le $free ]
}
