#!/usr/bin/env bash
# A bare Debian 12 of its own, booted with its own systemd, to install our package in.
#
#   bare-root.sh make BASE           makes the Debian (debootstrap) where it is not there yet
#   bare-root.sh start DIR BASE      boots it; DIR/share is seen inside as /srv
#   bare-root.sh run DIR CMD...      any command inside
#   bare-root.sh stop DIR
#
# Root only. All that is written inside goes to a memory file system above BASE, which stays as it is; process, mount,
# UTS, IPC and cgroup namespaces are its own, the network is that of the caller. Needs the Debian packages debootstrap,
# util-linux and procps; overlayfs; a cgroup2 hierarchy.
set -eu
. "$(dirname "$0")/namespaces.sh"
cmd=${1:?make, start, run or stop} dir=${2:?DIR}
shift 2
# What people have beside a minimal Debian, and what the tests ask with.
packages=systemd,systemd-sysv,dbus,curl,procps,openssl,ca-certificates,man-db,bash-completion

case $cmd in
make)
    [ "$(cat "$dir/etc/rackbmcd-bed" 2>/dev/null)" != "$packages" ] || exit 0
    rm -rf "$dir"
    mkdir -p "$dir"
    debootstrap --variant=minbase --include="$packages" bookworm "$dir" >"$dir.log" 2>&1 || { tail -n 20 "$dir.log" >&2; exit 1; }
    rm -rf "$dir"/var/cache/apt/archives/*.deb
    # Nothing of a real boot, and nothing that looks at the host's devices or the network.
    ln -sf /lib/systemd/system/multi-user.target "$dir/etc/systemd/system/default.target"
    for unit in systemd-sysctl.service systemd-modules-load.service systemd-remount-fs.service systemd-random-seed.service \
        systemd-logind.service systemd-udevd.service systemd-udev-trigger.service systemd-hwdb-update.service \
        systemd-network-generator.service systemd-networkd.service systemd-resolved.service systemd-timesyncd.service \
        console-getty.service getty@.service getty-static.service proc-sys-fs-binfmt_misc.automount dev-hugepages.mount \
        dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount \
        apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer man-db.timer; do
        ln -sf /dev/null "$dir/etc/systemd/system/$unit"
    done
    echo "$packages" >"$dir/etc/rackbmcd-bed"
    ;;
start)
    base=$(cd "${1:?BASE}" && pwd)
    mkdir -p "$dir/share" "$dir/root"
    dir=$(cd "$dir" && pwd)
    cat >"$dir/init.sh" <<'INIT'
set -eu
mount --make-rprivate /
root=$DIR/root
mount -t tmpfs tmpfs "$root"
mkdir "$root/upper" "$root/work" "$root/all"
mount -t overlay -o "lowerdir=$BASE,upperdir=$root/upper,workdir=$root/work" overlay "$root/all"
root=$root/all
mount --bind "$DIR/share" "$root/srv"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,ro,bind "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys" 2>/dev/null || mount --rbind -o ro /sys "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
for d in null zero full random urandom tty; do touch "$root/dev/$d"; mount --bind "/dev/$d" "$root/dev/$d"; done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
for n in 0 1 2; do ln -s "/proc/self/fd/$n" "$root/dev/$(echo stdin stdout stderr | cut -d' ' -f$((n + 1)))"; done
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=0755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
cp /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
cd "$root"
mkdir -p mnt
pivot_root . mnt
umount -l /mnt
# Credentials and sandboxes are handed over by mount propagation.
mount --make-rshared /
hostname bare
export container=rackbmcd-bed
exec /lib/systemd/systemd --system
INIT
    start_inside "$dir" rackbmcd-bare 600 BASE="$base"
    ;;
run)
    run_inside "$dir" \
        /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive "$@"
    ;;
stop) stop_inside "$dir" ;;
*) echo "make, start, run or stop" >&2; exit 2 ;;
esac
