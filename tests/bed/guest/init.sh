#!/bin/busybox sh
# PID 1 of the test guest.  What it does is chosen on the kernel command line:
#   node.button=ok        power button -> clean shutdown at once (the default)
#   node.button=slow:20   ... after 20 seconds, as a busy server would
#   node.button=ignore    nobody listens to the power button: a hung OS
#   node.nmi=log          an NMI is logged by the kernel, the guest goes on (default)
#   node.nmi=panic        an NMI makes the kernel panic (then panic=N, if given,
#                         reboots it after N seconds, like a machine that has
#                         written its crash dump)
# Everything of note goes to the serial console, prefixed "NODE:".
bb=/bin/busybox
export PATH=/bin
$bb mkdir -p /proc /sys /dev /tmp /run
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
$bb mount -t devtmpfs dev /dev 2>/dev/null
$bb --install -s /bin
exec </dev/console >/dev/console 2>&1
say() { echo "NODE: $*"; }
arg() { # NAME DEFAULT: the value of NAME= on the kernel command line
    for w in $(cat /proc/cmdline); do case $w in "$1"=*) echo "${w#*=}"; return ;; esac; done
    echo "$2"
}
for m in $(cat /lib/modules/order 2>/dev/null); do
    insmod "/lib/modules/$m.ko" || say "module $m did not load"
done
button=$(arg node.button ok)
case $(arg node.nmi log) in
panic) echo 1 >/proc/sys/kernel/unknown_nmi_panic; echo 1 >/proc/sys/kernel/panic_on_unrecovered_nmi ;;
esac
if [ "$button" != ignore ]; then
    mkdir -p /etc/acpi/PWRF
    cat >/etc/acpi/PWRF/00000080 <<END
#!/bin/sh
echo "NODE: power button"
case "$button" in slow:*) sleep "${button#slow:}" ;; esac
echo "NODE: shutting down"
sync
poweroff -f
END
    chmod +x /etc/acpi/PWRF/00000080
    acpid -f -l /dev/console &
fi
say "ready kernel=$(uname -r) button=$button nmi=$(arg node.nmi log)"
# A heartbeat, so that a test can tell a live guest from a dead one by its console.
n=0
while :; do sleep 1; n=$((n + 1)); say "alive $n"; done
