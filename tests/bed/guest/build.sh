#!/bin/sh
# Makes the kernel and the initramfs of the test guest:  build.sh OUT_DIR
#
# OUT_DIR gets "vmlinuz" and "initrd.gz".  The kernel is Debian's cloud kernel,
# its package only unpacked, never installed; the userland is busybox-static.
# Needs apt-get (or the .deb files already lying in OUT_DIR), dpkg-deb, gzip and
# the package busybox-static.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?OUT_DIR}
mkdir -p "$out"
out=$(cd "$out" && pwd)
meta=linux-image-cloud-amd64 mods="button evdev"
busybox=$(command -v busybox) || { echo "apt-get install busybox-static" >&2; exit 1; }
if ldd "$busybox" >/dev/null 2>&1; then echo "$busybox is not static: apt-get install busybox-static" >&2; exit 1; fi

cd "$out"
pkg=$(apt-cache depends "$meta" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
[ -n "$pkg" ] || { echo "apt knows no $meta: run apt-get update" >&2; exit 1; }
deb=$(ls "${pkg}"_*.deb 2>/dev/null | head -n 1) || true
if [ -z "$deb" ]; then
    apt-get -q -o APT::Sandbox::User=root download "$pkg"
    deb=$(ls "${pkg}"_*.deb | head -n 1)
fi
rm -rf unpack root
mkdir -p unpack root/bin root/lib/modules root/dev
dpkg-deb --fsys-tarfile "$deb" | tar -x -C unpack
cp unpack/boot/vmlinuz-* vmlinuz
cp "$busybox" root/bin/busybox
cp "$here/init.sh" root/init
chmod +x root/init
: >root/lib/modules/order
for m in $mods; do
    f=$(find unpack -name "$m.ko*" | head -n 1)
    if [ -z "$f" ]; then echo "kernel package has no module $m (built in?)" >&2; continue; fi
    case $f in
    *.xz) xz -dc "$f" >"root/lib/modules/$m.ko" ;;
    *.zst) zstd -qdc "$f" >"root/lib/modules/$m.ko" ;;
    *) cp "$f" "root/lib/modules/$m.ko" ;;
    esac
    echo "$m" >>root/lib/modules/order
done
(cd root && find . | LC_ALL=C sort | "$busybox" cpio -o -H newc 2>/dev/null | gzip -9n) >initrd.gz
rm -rf unpack root
ls -l vmlinuz initrd.gz
