# Receives one artifact (sha256 SUM, SIZE bytes) into the folder UPLOADS, from where an earlier connection broke off.
# OWNER names the process that sends it, MARK this execution, PATIENCE the seconds another one may stand still.

# Refuses: $1 kind, the rest is said.
hb_refuse() {
  s=$1
  shift
  [ -z "$MINE" ] || rm -f -- "$LOCK"
  hb_frame upload-refused "$s"
  printf '%s' "$*"
  hb_close
  exit 0
}

# Whether the process that holds the lock is alive. Sets `held` to the lock's text, `p` its process, `owner`, `mark`.
hb_held() {
  b= p= q= owner= mark= held=
  { read -r held < "$LOCK"; } 2>/dev/null
  set -- $held
  [ $# -eq 5 ] || return 1
  b=$1 p=$2 q=$3 owner=$4 mark=$5
  [ "$b" = "$BOOT_ID" ] || return 1
  hb_start "$p"
  [ "$t" = "$q" ]
}

# Prints the processes that carry mark $1: what a shell that received started. It shows in their environment, and is
# random enough to be found as it is.
hb_marked() {
  grep -lF -e "HMCO_BOOT_UPLOAD=$1" /proc/[0-9]*/environ 2>/dev/null | while IFS=/ read -r f f f s; do
    printf '%s ' "$f"
  done
}

# Ends what the execution with mark $1 started: nobody else writes from then on.
hb_oust() {
  i=0
  while m=$(hb_marked "$1") && [ -n "$m" ]; do
    kill -KILL $m 2>/dev/null
    [ $i -lt 50 ] || hb_refuse cannot "processes of an earlier upload do not end: $m"
    i=$((i + 1))
    hb_nap
  done
}

# Takes the lock. Its holder is ended where it is an earlier execution of the same sender, or stands still.
hb_lock() {
  MINE=
  hb_start $$
  s=$( { printf '%s %s %s %s %s\n' "$BOOT_ID" $$ "$t" "$OWNER" "$MARK" > "$LOCK.$MARK"; } 2>&1) || hb_refuse cannot "$s"
  j=0
  until ln -- "$LOCK.$MARK" "$LOCK" 2>/dev/null; do
    j=$((j + 1))
    if [ $j -gt 5 ]; then
      rm -f -- "$LOCK.$MARK"
      hb_refuse cannot "$LOCK cannot be made"
    fi
    [ -e "$LOCK" ] || continue
    if hb_held && [ "$owner" != "$OWNER" ]; then
      hb_size "$PART" 2>/dev/null
      was=$n i=0
      while [ $i -lt "$PATIENCE" ] && hb_held; do
        i=$((i + 1))
        sleep 1
        hb_size "$PART" 2>/dev/null
        if [ "$n" != "$was" ]; then
          rm -f -- "$LOCK.$MARK"
          hb_refuse busy
        fi
      done
    fi
    if hb_held; then kill -KILL "$p" 2>/dev/null; fi
    [ -z "$mark" ] || hb_oust "$mark"
    # Of two that find it dead, one moves it away; what the other moves is the first one's, and is put back.
    old=$held
    mv -f -- "$LOCK" "$LOCK.$MARK.old" 2>/dev/null || continue
    { read -r was < "$LOCK.$MARK.old"; } 2>/dev/null
    [ "$was" = "$old" ] || ln -- "$LOCK.$MARK.old" "$LOCK" 2>/dev/null
    rm -f -- "$LOCK.$MARK.old"
  done
  rm -f -- "$LOCK.$MARK"
  MINE=1
  HMCO_BOOT_UPLOAD=$MARK
  export HMCO_BOOT_UPLOAD
}

# The file is here and proven.
hb_done() {
  rm -f -- "$LOCK"
  hb_frame upload-done
  hb_close
  exit 0
}

hb_upload() {
  WHOLE=$UPLOADS/$SUM PART=$UPLOADS/$SUM.part LOCK=$UPLOADS/$SUM.lock MINE=
  hb_frame upload-here
  hb_close
  s=$(mkdir -p -- "$UPLOADS" 2>&1) || hb_refuse cannot "$s"
  hb_lock
  # What nobody came back for.
  find "$UPLOADS" -xdev -type f -mtime +1 ! -name "$SUM*" -exec rm -f -- {} + 2>/dev/null
  if hb_is "$WHOLE" "$SIZE" "$SUM"; then hb_done; fi
  rm -f -- "$WHOLE"
  if [ -L "$PART" ] || { [ -e "$PART" ] && [ ! -f "$PART" ]; }; then hb_refuse cannot "$PART is no file"; fi
  hb_size "$PART" 2>/dev/null
  [ "$n" -le "$SIZE" ] || n=0
  have=$n s=
  hb_room "$UPLOADS" $((SIZE - have)) || hb_refuse space "$free"
  [ "$have" -eq 0 ] || s=$(sha256sum < "$PART")
  hb_frame upload-at "$have" "${s%% *}"
  hb_close
  read -r s from || { rm -f -- "$LOCK"; exit 0; }
  [ "$s" = go ] || hb_refuse cannot "the sender does not go on"
  if [ "$from" -ne "$have" ]; then have=0; fi
  if [ "$have" -eq 0 ]; then
    s=$( { true > "$PART"; } 2>&1) || hb_refuse cannot "$s"
  fi
  while [ "$have" -lt "$SIZE" ]; do
    c=$((SIZE - have))
    [ $c -le 4194304 ] || c=4194304
    e=$(hb_bytes $c 7>> "$PART" 2>&1) || hb_refuse cannot "$PART cannot be written: $e"
    have=$((have + c))
    hb_size "$PART"
    # Less: the connection is gone; what came stays. More: somebody else writes.
    if [ "$n" -ne $have ]; then rm -f -- "$LOCK"; exit 0; fi
    hb_frame upload-have $have
    hb_close || exit 0
  done
  i=$(hb_identity "$PART")
  s=$(sha256sum < "$PART")
  if [ "${s%% *}" != "$SUM" ]; then
    rm -f -- "$PART"
    hb_refuse damaged "${s%% *}"
  fi
  # The job that places it need not read it all once more.
  printf '%s\n' "$SUM $i" > "$WHOLE.proven" || :
  e=$(mv -f -- "$PART" "$WHOLE" 2>&1) || hb_refuse cannot "$e"
  sync "$UPLOADS" 2>/dev/null
  hb_done
}
