# mount|remount SOURCE PATH TYPE OPTIONS, unmount PATH, reload

# How often something is mounted at a place, but for mounts of type $2: to n. The kernel writes blanks as \040.
layers() {
  p=$(printf '%s' "$1" | sed 's/\\/\\134/g; s/ /\\040/g; s/\t/\\011/g')
  n=0
  while read -r a b c d point rest; do
    if [ "$point" != "$p" ]; then continue; fi
    case $rest in
      *" - ${2:-none} "*) ;;
      *) n=$((n + 1)) ;;
    esac
  done < "$R/proc/self/mountinfo"
}
case $1 in
  mount)
    # What waits for the first access is no mount yet.
    layers "$3" autofs
    if [ "$n" -gt 0 ]; then exit 0; fi
    exec mount -t "$4" -o "$5" "$2" "$R$3"
    ;;
  remount)
    # With source and folder, what /etc/fstab says is not looked at.
    exec mount -t "$4" -o "remount,$5" "$2" "$R$3"
    ;;
  unmount)
    layers "$2"
    while [ "$n" -gt 0 ]; do
      if ! umount "$R$2"; then
        for p in /proc/[0-9]*; do
          for f in "$p/cwd" "$p/root" "$p/fd/"*; do
            case $(readlink "$f" 2>/dev/null) in
              "$2" | "$2"/*)
                comm=
                { read -r comm < "$p/comm"; } 2>/dev/null || true
                say "in use by process ${p#/proc/} ($comm)"
                break
                ;;
            esac
          done
        done
        exit 1
      fi
      n=$((n - 1))
    done
    ;;
  reload)
    # systemd makes units of /etc/fstab.
    if [ -z "$R" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
    ;;
esac
