# Awaits the leftover job ID, or ends it where END is set.

hb_refuse() {
  hb_frame job-refused "$1"
  printf '%s' "$2"
  hb_close
  exit 0
}

hb_attach() {
  if [ -d "$RUN/jobs" ] && [ ! -x "$RUN/jobs" ]; then hb_refuse cannot "$RUN/jobs cannot be read"; fi
  # What a lost connection sent may still be on its way into a shell: it shall find that it is too late. Where the
  # folder cannot be made, no job can begin either.
  if [ ! -d "$HERE" ] && (umask 022 && mkdir -p -- "$RUN") 2>/dev/null; then
    { hb_never; } 2>/dev/null || hb_refuse cannot "$RUN/ended cannot be written"
  fi
  if [ ! -d "$HERE" ]; then
    hb_frame job-end lost
    hb_close
    hb_goodbye
    return
  fi
  if [ -n "$END" ] && [ ! -s "$HERE/status" ] && hb_busy "$HERE" "$ID" && hb_take "$HERE/verdict"; then
    # Where the job has not begun, taking its claim is enough.
    if ! hb_take "$HERE/claim"; then
      { read -r p q < "$HERE/pid"; } 2>/dev/null
      hb_end "$ID" "$p" "$GRACE" || hb_refuse stuck
    fi
  else
    hb_stream "$HERE" < /dev/null &
    streamer=$!
    while [ ! -s "$HERE/status" ] && hb_busy "$HERE" "$ID"; do hb_nap; done
    kill -TERM $streamer 2>/dev/null
    wait $streamer
  fi
  # The watchdog of a job that was killed would sleep on.
  if hb_alive "$HERE" guard; then kill -TERM "-$p" 2>/dev/null; fi
  hb_sweep "$HERE"
  hb_verdict "$HERE" "$KEEP"
  hb_goodbye
}
