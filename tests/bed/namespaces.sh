# For the scripts beside this one, which boot a systemd as PID 1 of its own namespaces: starting it, waiting for it, and
# stopping it. To be sourced. DIR/init.sh is what runs there first, DIR/console.log what it says.

# start_inside DIR NAME WAIT VAR=VALUE...: runs DIR/init.sh with these variables in a cgroup of its own, whose name begins
# with NAME, and waits until systemd is up, WAIT times 50 ms at most. "$0 run DIR" must run a command inside.
start_inside() {
    local dir=$1 name=$2 wait=$3 cgroups cg outer pid='' state=''
    shift 3
    # Below the cgroup2 mount point: it is the root of all cgroups inside.
    cgroups=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
    [ -n "$cgroups" ] || { echo "no cgroup2 hierarchy is mounted" >&2; return 1; }
    cg=$cgroups/$name-$$
    mkdir "$cg"
    echo "$cg" >"$dir/cgroup"
    (
        echo $BASHPID >"$cg/cgroup.procs"
        exec setsid env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DIR="$dir" "$@" \
            unshare -m -p -f -u -i -C --kill-child /bin/sh "$dir/init.sh"
    ) </dev/null >"$dir/console.log" 2>&1 &
    outer=$!
    for _ in $(seq 100); do
        pid=$(pgrep -P "$outer" 2>/dev/null | head -n 1) || true
        [ -z "$pid" ] || break
        sleep 0.05
    done
    [ -n "$pid" ] || { cat "$dir/console.log" >&2; return 1; }
    echo "$pid" >"$dir/init.pid"
    for _ in $(seq "$wait"); do
        state=$("$0" run "$dir" systemctl is-system-running 2>/dev/null) || true
        case $state in running | degraded) return 0 ;; esac
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.05
    done
    echo "systemd did not come up (state: ${state:-none})" >&2
    cat "$dir/console.log" >&2
    return 1
}

# run_inside DIR CMD...: in place of this shell.
run_inside() {
    local dir=$1
    shift
    exec nsenter -t "$(cat "$dir/init.pid")" -m -u -i -p -C -- "$@"
}

# stop_inside DIR: everything inside dies with PID 1.
stop_inside() {
    local dir=$1 pid
    pid=$(cat "$dir/init.pid")
    kill -KILL "$pid" 2>/dev/null || true
    for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.05; done
    find "$(cat "$dir/cgroup")" -depth -type d -exec rmdir {} + 2>/dev/null || true
}
