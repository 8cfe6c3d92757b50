# Run once in a new base tree (chroot): users, units, and what must be new in each node.
set -eu
systemctl enable systemd-networkd.service ssh.service lab-early.service lab-host-keys.service
# Clocks, packages and disks are the host's business, and nothing may happen on a node while a test looks at it.
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
  systemd-timesyncd.service e2scrub_reap.service
# On cgroup v1 nobody tells systemd in a node that a user's manager has come to its end: every way down would wait for all
# the time limits of its stop, two minutes each.
mkdir -p /etc/systemd/system/user@.service.d
printf '[Service]\nTimeoutStopSec=1s\n' >/etc/systemd/system/user@.service.d/lab.conf
# As Raspberry Pi OS has it: one user, with sudo and without a password.
useradd --create-home --uid 1000 --shell /bin/bash --groups sudo,adm pi
echo 'pi ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/010_pi-nopasswd
chmod 0440 /etc/sudoers.d/010_pi-nopasswd
visudo -c -q
# Each node makes its own.
rm -f /etc/ssh/ssh_host_* /var/lib/dbus/machine-id
: >/etc/machine-id
rm -f /etc/hostname
rm -rf /var/cache/apt/archives/*.deb /var/lib/apt/lists/*
