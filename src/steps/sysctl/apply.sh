# PATH VALUE...: sets kernel parameters now. The value is read back by the caller: the kernel may round it.
while [ "$#" -gt 0 ]; do
  p=$R$1
  if [ ! -e "$p" ]; then say "$1 is not there"; exit 1; fi
  if ! printf '%s\n' "$2" 2>/dev/null > "$p"; then
    say "$1 did not take the value '$2'"
    # Once more for the reason, which the shell tells.
    printf '%s\n' "$2" > "$p" || true
    if [ -s "$R/run/systemd/container" ]; then
      say "this machine is a container: what is not its own network's is the host's to set"
    fi
    exit 1
  fi
  shift 2
done
