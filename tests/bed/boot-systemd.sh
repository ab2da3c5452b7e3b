#!/usr/bin/env bash
# Boots a real systemd as PID 1 of its own namespaces (process, mount, UTS, IPC, cgroup), on the files of this
# machine, to try our units for real.
#
#   boot-systemd.sh start DIR ROOT   boots; ROOT/etc/systemd/system has the units, ROOT/usr/lib/sysusers.d the users
#   boot-systemd.sh run DIR CMD...   any command inside (systemctl, journalctl, curl ...)
#   boot-systemd.sh stop DIR
#
# Root only. /run, /tmp, /var/lib, /var/cache, /var/log and /etc/systemd inside are empty file systems of its own, and
# /etc/passwd and /etc/group copies: nothing that the units do there outlives it or touches the machine. DIR is seen
# inside as /run/keep/dir (put binaries there: /root is closed to services). The network is that of the caller.
# Needs the Debian packages systemd, util-linux and procps; a cgroup2 hierarchy.
set -eu
. "$(dirname "$0")/namespaces.sh"
cmd=${1:?start, run or stop} dir=${2:?DIR}
shift 2
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

case $cmd in
start)
    root=$(cd "${1:?ROOT}" && pwd)
    cat >"$dir/init.sh" <<'INIT'
set -eu
mount --make-rprivate /
# The files of the project may lie below /tmp: keep them visible.
mkdir -p /run/keep && mount -t tmpfs -o mode=0755 tmpfs /run/keep
mkdir /run/keep/root /run/keep/dir
cp -r "$ROOT"/. /run/keep/root/
mount --bind "$DIR" /run/keep/dir
mount -t proc proc /proc
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for d in /var/lib /var/cache /var/log /etc/systemd; do mount -t tmpfs -o mode=0755 tmpfs "$d"; done
mkdir -p /etc/systemd/system /var/lib/private /var/cache/private /var/log/private
chmod 700 /var/lib/private /var/cache/private /var/log/private
cp -r /run/keep/root/etc/systemd/system/. /etc/systemd/system/
# The users of our package, in copies of the user tables.
cp /etc/passwd /etc/group /run/keep/root/etc/
systemd-sysusers --root=/run/keep/root rackbmcd.conf
for f in passwd group; do mount --bind "/run/keep/root/etc/$f" "/etc/$f"; done
# The target that is booted: the journal, then whatever the test starts.
printf '%s\n' '[Unit]' 'Description=testbed' 'DefaultDependencies=no' 'AllowIsolate=yes' \
    'Requires=systemd-journald.socket systemd-journald.service' \
    'After=systemd-journald.service' >/etc/systemd/system/testbed.target
# sysinit.target without the work of a real boot.
printf '%s\n' '[Unit]' 'DefaultDependencies=no' >/etc/systemd/system/sysinit.target
printf '%s\n' '[Manager]' 'LogTarget=journal' >/etc/systemd/system.conf
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount --move /run/keep /mnt
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/keep
mount --move /mnt /run/keep
# systemd hands credentials and sandboxes over by mount propagation, and only sets that up itself when it is not in
# a container.
mount --make-rshared /
export container=rackbmcd-bed
exec /lib/systemd/systemd --system --unit=testbed.target
INIT
    start_inside "$dir" rackbmcd-bed 200 ROOT="$root"
    ;;
run) run_inside "$dir" "$@" ;;
stop) stop_inside "$dir" ;;
*) echo "start, run or stop" >&2; exit 2 ;;
esac
