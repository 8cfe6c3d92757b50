# Right before K3s is started: proves that its configuration says what it is to be, and notes what is true before, so that it
# can be told from what is true after. Arguments: ROLE NODE (look.sh has them) UNIT HOW; HOW: init, join, alone, keep (K3s has data).
U=$3 H=$4
D="$R/etc/rancher/k3s/config.yaml.d"
# K3s without a token or without `server` starts a cluster of its own and says nothing.
says() { grep -q "$1" "$D/$2" 2>/dev/null || { say "not started: $D/$2 does not say $3"; exit 1; }; }
never() { ! grep -q "$1" "$D/$2" || { say "not started: $D/$2 says $3"; exit 1; }; }
says '^token: "..*"$' 20-token.yaml token
case $H in
  init)
    says '^cluster-init: true$' 10-base.yaml cluster-init
    never '^server:' 10-base.yaml server
    ;;
  join)
    says '^server: "https://..*"$' 10-base.yaml server
    never '^cluster-init:' 10-base.yaml cluster-init
    ;;
esac
# In a sandbox nothing runs.
[ -z "$R" ] || exit 0
beat= lease=
if [ "$(systemctl is-active "$U" 2>/dev/null)" = active ]; then
  look
  beats
fi
(umask 077 && mkdir -p /run/hmco-boot/k3s)
{
  printf '%s\n' "$(journalctl -q -n 0 --show-cursor 2>/dev/null | sed -n 's/^-- cursor: //p')" "$beat $lease"
  date -u +%Y-%m-%dT%H:%M:%SZ
} >"/run/hmco-boot/k3s/$U.new"
mv -f "/run/hmco-boot/k3s/$U.new" "/run/hmco-boot/k3s/$U"
# For the wait that follows: it may begin to look after the first crash.
systemctl show --value -p NRestarts -- "$U" >"/run/hmco-boot/k3s/$U.count" 2>/dev/null || :
