# The detached job: keeps its books, runs the actions that follow, writes the status. Not needed once it runs: the
# connection, the attached shell.

# Reads a pipe into pieces of stream $1: of all that is written, at least the last 64 KiB are kept, at most 640 KiB.
hb_cap() {
  trap '' TERM HUP INT
  g0= g1=0 total=0
  while :; do
    s=$(LC_ALL=C dd bs=16384 count=16 2>&1 >> "$1.$g1") || break
    s=${s##*"$NL"}
    n=${s%% *}
    case $n in
      '' | *[!0-9]*)
        # A dd that does not count bytes (busybox, as some build it).
        hb_size "$1.$g1"
        n=$((g1 + n - total))
        ;;
    esac
    [ "$n" -gt 0 ] || return
    total=$((total + n))
    [ $((total - g1)) -ge "$KEEP" ] || continue
    [ -z "$g0" ] || rm -f "$1.$g0"
    g0=$g1 g1=$total
    : > "$1.$g1"
    printf '%s,%s\n' "$g0" "$g1" > "$1.cur"
  done
  # Disk full, or the folder is gone while a daemon goes on talking: nobody may block or die of that.
  cat > /dev/null
}

# Begins: the folder's books, the watchdog, the output. $1 seconds to live, $2 whether programs will run.
hb_begin() {
  exec < /dev/null > /dev/null 2>&1
  hb_sign pid
  hb_take claim || exit 1
  setsid $SHELL_WORDS -c "$GUARD" guard "$PWD" "$HMCO_BOOT_JOB" "$1" "$GRACE" &
  guard=$!
  hb_sign guard $guard
  capped=$2
  if [ -n "$capped" ]; then
    if ! mkfifo fin out err; then
      capped=
      hb_finish 'failed 0 1 0'
    fi
    exec 4<> fin
    { hb_cap stdout < out; echo eof >&4; } &
    { hb_cap stderr < err; echo eof >&4; } &
    exec 5> out 6> err
    rm -f fin out err
  else
    exec 5>> stdout.0 6>> stderr.0
  fi
}

# Ends the job with this status. Output that comes later than a second after the last program's end belongs to a
# daemon it left behind, and is not waited for.
hb_finish() {
  exec 5>&- 6>&-
  if [ -n "$capped" ]; then
    { sleep 1; echo late >&4; } &
    read -r s <&4
    [ "$s" = late ] || read -r s <&4
    kill $! 2>/dev/null
  fi
  hb_sweep .
  hb_take verdict || exit 1
  printf '%s\n' "$1" > status
  kill -TERM "-$guard" 2>/dev/null || kill -TERM "$guard" 2>/dev/null
  exit 0
}

# Goes on only while run $1 holds the lock: what comes over a slow connection may come late. (Nobody takes it away from here
# on: this job is at work.)
hb_hold() {
  while :; do ! hb_lock_read || break; done
  [ "$l_run" = "$1" ] || hb_finish "fenced $l_run"
}

# Ends the job well, then restarts the machine: once the verdict was taken (the job's folder is gone), or when nobody comes
# for it.
hb_restart() {
  exec 5>&- 6>&-
  (hb_finish succeeded) || exit
  {
    n=0
    while [ -d "$HERE" ] && [ $n -lt 50 ]; do
      n=$((n + 1))
      hb_nap
    done
    cd /
    sync
    systemctl reboot || reboot || reboot -f
  } &
  exit 0
}

# Action $1 ended with status $2; $3 are the good ones, $4 those that may pass.
hb_check() {
  case " $3 " in *" $2 "*) return ;; esac
  case $2 in
    126 | 127) printf 'hmco-boot: exit status %s: the program could not be started (or says so itself)\n' "$2" >&6 ;;
  esac
  case " $4 " in *" $2 "*) hb_finish "failed $1 $2 1" ;; esac
  hb_finish "failed $1 $2 0"
}

hb_say() {
  printf 'hmco-boot: %s\n' "$*" >&2
  return 1
}

# Renames $1 over $2, which is not a folder. `mv` without -T would move into a folder that a link there points to.
hb_place() {
  mv -fT -- "$1" "$2" 2>/dev/null && return
  [ ! -L "$2" ] || rm -f -- "$2"
  if [ -d "$2" ]; then hb_say "$2 is a folder"; else mv -f -- "$1" "$2"; fi
}

# $1 "USER:GROUP" (either may be missing), $2 path.
hb_own() {
  [ -z "$1" ] || chown -h -- "$1" "$2"
}

# WriteFile: $1 number, $2 path, $3 its folder, $4 temporary file, $5 mode, $6 owner, $7 sha256, $8 backup path or empty,
# $9 what it replaces. Status 75: that is something else by now.
hb_write() {
  if [ -d "$2" ] && [ ! -L "$2" ]; then hb_say "$2 is a folder; it is not replaced by a file"; return; fi
  if [ -f "payload.$1" ]; then
    if [ ! -d "$3" ]; then hb_say "the folder $3 does not exist; make it in a step before this one"; return; fi
    rm -f -- "$4"
    set -C
    { dd bs=65536 conv=fsync < "payload.$1" 2>/dev/null; } > "$4" || { set +C; hb_say "$4 cannot be written"; return; }
    set +C
  fi
  if [ ! -f "$4" ] || [ -L "$4" ]; then hb_say "$4 was taken away by somebody else"; return; fi
  hb_own "$6" "$4" && chmod "$5" "$4" || return
  hb_still "$2" "$9" "$7" "$4" || return
  if [ -n "$8" ]; then hb_backup "$2" "$8" "$7" && hb_still "$2" "$9" "$7" "$4" || return; fi
  hb_place "$4" "$2" || return
  sync "$3" 2>/dev/null
  return 0
}

# Whether $1 still is $2 (empty: anything; `absent`; a sha256, also behind a link), or already is what shall be written
# (sha256 $3). If not, the temporary file $4 goes.
hb_still() {
  case $2 in
    '') return 0 ;;
    absent) if [ ! -e "$1" ] && [ ! -L "$1" ]; then return 0; fi ;;
  esac
  if [ -f "$1" ]; then
    s=$(sha256sum < "$1")
    s=${s%% *}
    [ "$s" != "$2" ] || return 0
    if [ "$s" = "$3" ] && [ ! -L "$1" ]; then return 0; fi
  fi
  rm -f -- "$4"
  hb_say "$1 was changed meanwhile; nothing was written"
  return 75
}

# Keeps $1 as $2, unless it is already what shall be written (sha256 $3): a second apply must not lose the original.
hb_backup() {
  [ -f "$1" ] && [ ! -L "$1" ] || return 0
  s=$(sha256sum < "$1") && [ "${s%% *}" != "$3" ] || return 0
  if [ -d "$2" ]; then hb_say "$2 is a folder; no backup can be made there"; return; fi
  # No hard links on FAT, which is what a Raspberry Pi boots from.
  ln -f -- "$1" "$2" 2>/dev/null || cp -p -- "$1" "$2"
}

# Whether the folder $1 has room for $2 bytes; says so where it has not.
hb_fits() {
  hb_room "$1" "$2" || hb_say "the disk of $1 has $free bytes free; $2 and a reserve of 8 MiB are needed"
}

# One try to download $1 to $2, of which $3 bytes are there; at most about $4 bytes. Sets `e` to what the tool says.
# Status 0: it says it has all; 75: it may be tried again; 1: it stays so.
hb_get() {
  more=
  if command -v curl > /dev/null; then
    [ "$3" -eq 0 ] || more="-C $3"
    redirected=http,https
    case $1 in https:*) redirected=https ;; esac
    e=$(ulimit -f $(($4 / 512 + 2)) && curl -q -fsSL --proto =http,https --proto-redir "=$redirected" --connect-timeout 20 \
      --speed-limit 1 --speed-time "$STALL" --max-filesize "$4" $more -o "$2" -w '\n%{http_code}' "$1" 2>&1)
    s=$?
    code=${e##*"$NL"}
    e=${e%"$NL$code"}
    e=${e%"$NL"}
    [ $s -ne 0 ] || return 0
    # The server does not go on in the middle.
    if [ $s -eq 33 ] || [ "$code" = 416 ]; then rm -f -- "$2"; return 75; fi
    [ $s -ne 63 ] || return 1
    case $code in 408 | 425 | 429 | 5* | 2* | 000) return 75 ;; esac
    return 1
  fi
  command -v wget > /dev/null || { e="the machine has neither curl nor wget"; return 1; }
  # Only GNU wget checks certificates and goes on in the middle.
  if wget --version 2>/dev/null | grep -q GNU; then
    e=$(ulimit -f $(($4 / 512 + 2)) && wget -q --tries=1 -c -T "$STALL" -O "$2" "$1" 2>&1) && return
  else
    case $1 in https:*) e="the machine has no curl, and its wget does no https"; return 1 ;; esac
    hb_old_get "$@" && return
  fi
  case $e in *' 40'[1346]* | *' 410 '*) return 1 ;; esac
  return 75
}

# The same with busybox wget. Its own limit of time (-T) crashes some builds, so it is watched from here.
hb_old_get() {
  rm -f -- "$2"
  (ulimit -f $(($4 / 512 + 2)) && exec wget -q -O "$2" "$1") 2> got &
  w=$! was= i=0
  while hb_start $w && [ -n "$t" ]; do
    hb_nap
    i=$((i + 1))
    [ $i -ge $((STALL * 5)) ] || continue
    hb_size "$2" 2>/dev/null
    [ "$n" != "$was" ] || kill $w 2>/dev/null
    was=$n i=0
  done
  wait $w
  s=$?
  e=$(cat got)
  return $s
}

# Downloads the file with sha256 $1 and size $2 from $3 into the folder UPLOADS, in a few tries.
hb_fetch() {
  mkdir -p -- "$UPLOADS" || return
  ! hb_is "$UPLOADS/$1" "$2" "$1" || return 0
  part=$UPLOADS/$1.part tries=0 resumed= furthest=0
  if [ -L "$part" ] || { [ -e "$part" ] && [ ! -f "$part" ]; }; then hb_say "$part is no file"; return; fi
  while :; do
    hb_size "$part" 2>/dev/null
    if [ "$n" -eq "$2" ]; then
      ! hb_is "$part" "$2" "$1" || break
      rm -f -- "$part"
      if [ -z "$resumed" ]; then
        hb_say "$3 is not the pinned file: pinned sha256 $1, got sha256 $s (both $2 bytes)"
        return
      fi
      # It may have begun as another file.
      resumed= n=0
    elif [ "$n" -gt "$2" ]; then
      rm -f -- "$part"
      n=0
    fi
    [ "$n" -le $furthest ] || furthest=$n
    hb_fits "$UPLOADS" $(($2 - n)) || return
    [ "$n" -eq 0 ] || resumed=1
    hb_get "$3" "$part" "$n" "$2"
    s=$?
    hb_size "$part" 2>/dev/null
    if [ $s -eq 1 ] || [ "$n" -gt "$2" ]; then
      rm -f -- "$part"
      [ "$n" -le "$2" ] || e="it is larger than pinned ($2 bytes)"
      hb_say "$3 cannot be fetched: $e"
      return
    fi
    [ "$n" -ne "$2" ] || continue
    [ $s -ne 0 ] || e="it ended after $n of $2 bytes"
    [ "$n" -le $furthest ] || tries=0
    tries=$((tries + 1))
    if [ $tries -ge 5 ]; then
      hb_say "$3 cannot be fetched, tried $tries times: $e; with fetch = \"controller\" it is sent from there"
      return 75
    fi
    sleep "$PAUSE" 2>/dev/null || sleep 1
  done
  # curl and wget leave that to the kernel: after a power cut the file could be there and be empty.
  e=$(sync "$part" 2>&1) || { hb_say "$part cannot be brought to the disk: $e"; return; }
  mv -f -- "$part" "$UPLOADS/$1"
}

# Whether the upload of $1 found that its sha256 is $2, and nobody wrote it since.
hb_proven() {
  s= i=$(hb_identity "$1")
  { read -r s < "$1.proven"; } 2>/dev/null
  [ -n "$i" ] && [ "$s" = "$2 $i" ]
}

# Place: $1 path, $2 its folder, $3 temporary file, $4 mode, $5 owner, $6 sha256, $7 size, $8 URL or empty where it was
# sent, $9 sha256, ${10} size and ${11} path of the file in the archive, or all empty.
hb_put() {
  if [ -d "$1" ] && [ ! -L "$1" ]; then hb_say "$1 is a folder; it is not replaced by a file"; return; fi
  if [ ! -d "$2" ]; then hb_say "the folder $2 does not exist; make it in a step before this one"; return; fi
  if [ -n "$8" ]; then
    hb_fetch "$6" "$7" "$8" || return
  elif ! hb_proven "$UPLOADS/$6" "$6" && ! hb_is "$UPLOADS/$6" "$7" "$6"; then
    [ -f "$UPLOADS/$6" ] || { hb_say "$UPLOADS/$6 was taken away by somebody else"; return; }
    rm -f -- "$UPLOADS/$6" "$UPLOADS/$6.proven"
    hb_say "$UPLOADS/$6 was changed by somebody else: sha256 ${s:-unread}, $n bytes; it is removed"
    return
  fi
  rm -f -- "$3" || return
  printf '%s\n' "$3" >> temps
  if [ -n "${11}" ]; then
    hb_fits "$2" "${10}" || return
    set -C
    { tar -xzOf "$UPLOADS/$6" "${11}" | dd bs=65536 iflag=fullblock conv=fsync 2>/dev/null; } > "$3"
    set +C
    hb_is "$3" "${10}" "$9" || { hb_say "${11} of the archive is not as pinned: sha256 ${s:-unread}, $n bytes"; return; }
  elif ! ln -- "$UPLOADS/$6" "$3" 2>/dev/null; then
    # Another disk.
    hb_fits "$2" "$7" || return
    set -C
    { dd bs=65536 conv=fsync < "$UPLOADS/$6" 2>/dev/null; } > "$3"
    set +C
    hb_is "$3" "$7" "$6" || { hb_say "$3 cannot be written: $n of $7 bytes"; return; }
  fi
  hb_own "$5" "$3" && chmod "$4" "$3" && hb_place "$3" "$1" || return
  rm -f -- "$UPLOADS/$6" "$UPLOADS/$6.proven"
  sync "$2" 2>/dev/null
  # Its digest is read next, and is only kept when the file has not changed for a moment: a large one shall be read once.
  [ "$7" -lt 16777216 ] || sleep 0.03 2>/dev/null
  return 0
}

# MakeDirectory: $1 path, $2 mode, $3 owner.
hb_directory() {
  if [ -L "$1" ]; then hb_say "$1 is a symbolic link; it is not followed"; return; fi
  if [ ! -d "$1" ]; then
    (umask 022 && mkdir -p -- "${1%/*}/") && mkdir -- "$1" || return
  fi
  hb_own "$3" "$1" && chmod "$2" "$1"
}

# SetAttributes: $1 path, $2 mode or empty, $3 owner or empty.
hb_attributes() {
  if [ ! -e "$1" ] && [ ! -L "$1" ]; then hb_say "$1 does not exist"; return; fi
  if [ -L "$1" ] && [ -n "$2" ]; then hb_say "$1 is a symbolic link, which has no mode; it is not followed"; return; fi
  m=$2
  # A change of owner takes set-id bits away; without a wished mode they are put back.
  if [ -z "$m" ] && [ ! -L "$1" ]; then m=0$(stat -c %a -- "$1") || return; fi
  hb_own "$3" "$1" || return
  [ -z "$m" ] || chmod "$m" "$1"
}

# Symlink: $1 path, $2 temporary name, $3 text of the link.
hb_symlink() {
  if [ -e "$1" ] && [ ! -L "$1" ]; then hb_say "$1 is there and no symbolic link; it is not replaced"; return; fi
  [ ! -L "$1" ] || [ "$(readlink -- "$1"; echo x)" != "$3${NL}x" ] || return 0
  rm -f -- "$2" && ln -s -- "$3" "$2" && hb_place "$2" "$1"
}

# Remove: $1 path, $2 its folder, $3 its name, $4 whether folders too.
hb_remove() {
  [ -e "$1" ] || [ -L "$1" ] || return 0
  if [ ! -d "$1" ] || [ -L "$1" ]; then rm -f -- "$1"; return; fi
  if [ -z "$4" ]; then hb_say "$1 is a folder; it is not removed without \`recursive\`"; return; fi
  real=$(cd -P -- "${2%/}/" && pwd -P) || return
  real=${real%/}/$3
  while read -r s s s s s; do
    s=${s%% *}
    case $s in *\\*) s=$(printf '%b' "$s") ;; esac
    case $s in
      "$real" | "$real"/*) hb_say "$s is a mount point; nothing of $1 is removed"; return ;;
    esac
  done < /proc/self/mountinfo
  case $real in / | //) hb_say "the root folder is not removed"; return ;; esac
  if rm --help 2>&1 | grep -q one-file-system; then
    rm -rf --one-file-system -- "$1"
  else
    find "$1" -xdev -depth ! -type d -exec rm -f -- {} + && find "$1" -xdev -depth -type d -exec rmdir -- {} +
  fi
}
