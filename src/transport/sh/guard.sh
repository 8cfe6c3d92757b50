# The watchdog of a job, in a session of its own: folder $1, job $2, seconds $3, grace in naps $4.
cd -- "$1" && sleep "$3" || exit
hb_busy . "$2" && hb_take verdict || exit
{ read -r p q < pid; } 2>/dev/null
hb_end "$2" "$p" "$4"
hb_sweep .
printf 'timed-out\n' > status
