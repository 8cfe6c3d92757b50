# The attached shell of an apply: claims the job's folder, receives payloads, starts the job, awaits it.

# Refuses: $1 kind, the rest is said.
hb_refuse() {
  s=$1
  shift
  hb_frame "job-refused" "$s"
  printf '%s' "$*"
  hb_close
  if [ -d "$HERE" ] && [ -n "$MINE" ]; then
    hb_sweep "$HERE"
    rm -rf -- "$HERE"
  fi
  exit 0
}

# Claims the folder. Our own claim is there before we look for others, so of two that begin at once at most one goes on.
hb_claim() {
  MINE=
  if [ ! -d "$RUN/jobs" ]; then
    (umask 022 && mkdir -p -- "$RUN") 2>/dev/null && mkdir -p -- "$RUN/jobs" 2>/dev/null
  fi
  if ! s=$(mkdir -- "$HERE" 2>&1); then
    [ ! -d "$HERE" ] || hb_refuse exists
    hb_refuse cannot "$s"
  fi
  MINE=1
  { printf '%s\n' "$BOOT_ID" > "$HERE/boot" && hb_sign "$HERE/starter"; } 2>/dev/null || hb_refuse cannot "$HERE cannot be written"
  if [ -e "$RUN/ended" ] && grep -qxF -- "$ID" "$RUN/ended"; then hb_refuse exists; fi
  for other in "$RUN"/jobs/*; do
    [ "$other" != "$HERE" ] && [ -d "$other" ] || continue
    ! hb_busy "$other" "${other##*/}" || hb_refuse busy "${other##*/}"
    # Dead and never begun: what it had received is nobody's.
    [ -e "$other/pid" ] || hb_sweep "$other"
  done
}

# Receives payload $1: $2 bytes, sha256 $3, destination folder $4 and temporary file $5. Without a folder that can be
# written it waits in the job's folder, and the job says what is wrong.
hb_receive() {
  to="$HERE/payload.$1"
  if [ -n "$4" ] && [ -d "$4" ] && [ -w "$4" ]; then
    if [ -e "$5" ] || [ -L "$5" ]; then rm -f -- "$5" 2>/dev/null; fi
    if [ ! -e "$5" ] && [ ! -L "$5" ]; then
      to=$5
      printf '%s\n' "$5" >> "$HERE/temps"
    fi
  fi
  set -C
  s= e=
  { s=1; e=$(hb_bytes "$2") || s=2; } 7> "$to"
  set +C
  [ "$s" = 1 ] || hb_refuse cannot "$to cannot be written: $e"
  s=$(sha256sum < "$to")
  [ "${s%% *}" = "$3" ] || hb_refuse short "$to"
}

# Starts the job, which reads its own script from our standard input, and awaits it. $1: whether its output is streamed.
hb_run() {
  exec 3<&0
  hb_frame job-started "$BOOT_ID"
  hb_close
  (cd -- "$HERE" && HMCO_BOOT_JOB=$ID && export HMCO_BOOT_JOB && exec setsid $SHELL_WORDS -c "$LOADER") <&3 3<&- > /dev/null 2>&1 &
  job=$! streamer=
  exec 3<&-
  if [ -n "$1" ]; then
    hb_stream "$HERE" < /dev/null &
    streamer=$!
  fi
  wait $job
  while [ ! -s "$HERE/status" ] && hb_busy "$HERE" "$ID"; do hb_nap; done
  if [ -n "$streamer" ]; then
    kill -TERM $streamer 2>/dev/null
    wait $streamer
  fi
  [ -s "$HERE/status" ] || hb_sweep "$HERE"
  hb_verdict "$HERE" "$KEEP"
}
