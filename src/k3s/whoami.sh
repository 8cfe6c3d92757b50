# Which K3s is here, to ROLE and NODE, as it takes them: from arguments of its unit, else its configuration, else its environment.
ROLE=server NODE= ID= U=/etc/systemd/system/k3s.service
if [ -f /etc/systemd/system/k3s-agent.service ] && ! [ -f "$U" ]; then ROLE=agent U=/etc/systemd/system/k3s-agent.service; fi
# A value as it was written: with quotes, a comment, blanks.
plain() { sed -e "s/^[[:space:]]*//" -e "s/^\"\([^\"]*\)\".*/\1/" -e "s/^'\([^']*\)'.*/\1/" -e "s/[[:space:]]#.*//" -e "s/[[:space:]]*\$//" | tail -n 1; }
is() { [ -z "$1" ] || NODE=$1; }
S=${U##*/}
for f in "/etc/default/${S%.service}" "/etc/sysconfig/${S%.service}" "$U.env"; do
[ -f "$f" ] && is "$(sed -n 's/^[[:space:]]*K3S_NODE_NAME=//p' "$f" | plain)"
done
for f in /etc/rancher/k3s/config.yaml /etc/rancher/k3s/config.yaml.d/.* /etc/rancher/k3s/config.yaml.d/*; do
case $f in *.[yY][aA][mM][lL]|*.[yY][mM][lL]) [ -f "$f" ] || continue;; *) continue;; esac
is "$(sed -n "s/^[\"']\{0,1\}node-name[\"']\{0,1\}[[:space:]]*:[[:space:]]//p" "$f" | plain)"
n=$(sed -n "s/^[\"']\{0,1\}with-node-id[\"']\{0,1\}[[:space:]]*:[[:space:]]//p" "$f" | plain)
[ -z "$n" ] || ID=$n
done
# One word of the unit a line.
words() { cat "$U" "$U".d/*.conf 2>/dev/null | tr "\\\\\\n\\t'\"" '     ' | tr -s ' ' '\n'; }
is "$(words | sed -n -e 's/^--\{0,1\}node-name=//p' -e '/^--\{0,1\}node-name$/{n;p;}' | tail -n 1)"
n=$(words | sed -n -e 's/^--\{0,1\}with-node-id=//p' -e 's/^--\{0,1\}with-node-id$/true/p' | tail -n 1)
[ -z "$n" ] || ID=$n
if [ "$ID" = true ] && [ -s /etc/rancher/node/id ]; then
[ -n "$NODE" ] || NODE=$(uname -n)
NODE=$NODE-$(cat /etc/rancher/node/id)
fi
NODE=$(printf %s "$NODE" | tr '[:upper:]' '[:lower:]')
