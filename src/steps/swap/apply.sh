# SERVICE...: services that start swap; then all that is on; then the units that the next boot would start.
systemd=
if [ -n "$R" ] || [ -d /run/systemd/system ]; then systemd=yes; fi
for n; do systemctl disable --now -- "$n"; done
if [ -n "$systemd" ]; then systemctl daemon-reload; fi
if ! swapoff -a; then
  say "swap is in use and what is in it does not fit into memory: stop something, or reboot and run this again"
  exit 1
fi
[ -n "$systemd" ] || exit 0
m=$R/etc/systemd/system
for d in "$m" "$R"/run/systemd/generator* "$R/run/systemd/system" "$R/usr/local/lib/systemd/system" "$R/usr/lib/systemd/system" "$R/lib/systemd/system"; do
  for p in "$d"/swap.target.wants/*.swap "$d"/swap.target.requires/*.swap; do
    if [ ! -e "$p" ] && [ ! -L "$p" ]; then continue; fi
    p=${p##*/}
    if [ -e "$m/$p" ] && [ ! -s "$m/$p" ]; then continue; fi
    if [ -e "$m/$p" ]; then
      # A unit of somebody's own stands where the mask would go: it stays, and is no longer started.
      say "taking $p out of swap.target"
      systemctl stop -- "$p"
      rm -f "$m/swap.target.wants/$p" "$m/swap.target.requires/$p"
    else
      say "masking $p"
      systemctl mask --now -- "$p"
    fi
  done
done
