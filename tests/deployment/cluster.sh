#!/usr/bin/env bash
# A cluster of hosts on one machine, to try deployment on: real sshd, names, addresses, no way to any other network.
#   cluster.sh up [N]          hosts node1 ... nodeN (default 3) at 10.77.0.11 ..., and a control machine at 10.77.0.1
#   cluster.sh ctl COMMAND     run a command as the control machine
#   cluster.sh in HOST COMMAND run a command as root of a host
#   cluster.sh cut HOST        pull its network cable; mend HOST puts it back
#   cluster.sh shape HOST RATE let it send no faster than 100mbit, 1gbit, ...; `free` takes the limit away
#   cluster.sh stop HOST       pull the plug; start HOST boots it again, with the files that it had
#   cluster.sh down            remove all but the Debian tree, which `base` makes if `up` is not to
# Needs root, debootstrap, iproute2, openssh-client. CLUSTER_DIR (default /var/tmp/mpinn-cluster) is of one cluster, several
# can be there at once; all share the Debian tree, CLUSTER_BASE (default /var/tmp/mpinn-cluster/base).
#
# A host is a set of namespaces (network, mount, process, host name) over a Debian tree that all share read-only; what
# it writes is in memory and gone with the cluster. Its user `admin` may sudo. Packages that deployment installs lie
# in its package cache; its CPUs seem to have a clock governor, which this machine may not have.
set -euo pipefail

D=${CLUSTER_DIR:-/var/tmp/mpinn-cluster}
BASE=${CLUSTER_BASE:-/var/tmp/mpinn-cluster/base}
NET=10.77.0
NAME=$(basename "$D") # its namespaces have it
CTL=$NAME-ctl
PRESENT=openssh-server,openssh-client,python3,sudo,tini,iproute2,iputils-ping,procps,faketime
DEPLOYED="python3-venv python3-packaging python3-apt gcc python3-dev libc6-dev"

base() { # what all hosts share; one makes it, others wait
    mkdir -p "$D" "$(dirname "$BASE")"
    exec 9>"$BASE.lock"
    flock 9
    [ -e "$BASE/.done" ] || debian
    exec 9>&-
}

debian() {
    rm -rf "$BASE"
    mirror=$(sed -n 's/^URIs: //p; s/^deb \(http[^ ]*\) .*/\1/p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -1 || true)
    debootstrap --variant=minbase --include="$PRESENT" bookworm "$BASE" "${mirror:-http://deb.debian.org/debian}"
    cp /etc/resolv.conf "$BASE/etc/"
    chroot "$BASE" sh -ec "apt-get update; apt-get install -y --no-install-recommends --download-only $DEPLOYED
        useradd --create-home --shell /bin/bash admin; echo 'admin ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/admin
        rm -f /etc/ssh/ssh_host_* /etc/machine-id"
    touch "$BASE/.done"
} >"$D.log" 2>&1

network() { # the control machine holds the bridge, so that nothing leads outside
    ip netns add $CTL
    ip -n $CTL link set lo up
    ip -n $CTL link add br0 type bridge
    ip -n $CTL addr add $NET.1/24 dev br0
    ip -n $CTL link set br0 up
    ssh-keygen -q -t ed25519 -N '' -C control -f "$D/key"
    cat >"$D/ssh_config" <<CONFIG
Host $NET.*
  User admin
  IdentityFile $D/key
  IdentitiesOnly yes
  UserKnownHostsFile $D/known_hosts
  StrictHostKeyChecking yes
CONFIG
}

start() { # node$1
    name=node$1 H=$D/node$1
    ip netns add "$NAME-$name"
    ip -n "$NAME-$name" link set lo up
    ip link add "mpinn$1" netns $CTL type veth peer name eth0 address "02:77:00:00:00:$((10 + $1))" netns "$NAME-$name"
    ip -n $CTL link set "mpinn$1" master br0 up
    ip -n "$NAME-$name" addr add "$NET.$((10 + $1))/24" dev eth0
    ip -n "$NAME-$name" link set eth0 up
    mkdir -p "$H/mount"
    mountpoint -q "$H/mount" || { mount -t tmpfs -o size=2g tmpfs "$H/mount"; mkdir "$H"/mount/{upper,work,root}; }
    if [ ! -e "$H/ssh_host_ed25519_key" ]; then
        ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$H/ssh_host_ed25519_key"
        echo "$NET.$((10 + $1)) $(cut -d' ' -f1-2 "$H/ssh_host_ed25519_key.pub")" >>"$D/known_hosts"
    fi
    cat >"$H/boot" <<BOOT
set -e
mount --make-rprivate /
mount -t overlay overlay -o lowerdir=$BASE,upperdir=$H/mount/upper,workdir=$H/mount/work $H/mount/root
cd $H/mount/root
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs tmpfs sys/devices/system/cpu/cpufreq
mkdir sys/devices/system/cpu/cpufreq/policy0
echo ondemand >sys/devices/system/cpu/cpufreq/policy0/scaling_governor
echo performance ondemand >sys/devices/system/cpu/cpufreq/policy0/scaling_available_governors
mount -t tmpfs -o mode=755 tmpfs dev; mkdir dev/pts dev/shm
for d in null zero full random urandom tty; do touch dev/\$d; mount --bind /dev/\$d dev/\$d; done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts; ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=1777 tmpfs dev/shm; mount -t tmpfs -o mode=1777 tmpfs tmp; mount -t tmpfs tmpfs run; mkdir -p run/sshd
hostname $name; echo $name >etc/hostname; cat $D/hosts >etc/hosts; : >etc/resolv.conf
cp $H/ssh_host_ed25519_key* etc/ssh/
mkdir -p -m 700 home/admin/.ssh; cp $D/key.pub home/admin/.ssh/authorized_keys; chroot . chown -R admin: home/admin/.ssh
exec chroot . /usr/bin/tini -- /usr/sbin/sshd -D -E /var/log/sshd.log -o UseDNS=no
BOOT
    setsid ip netns exec "$NAME-$name" unshare --mount --uts --ipc --pid --fork --kill-child bash "$H/boot" \
        >"$H/boot.log" 2>&1 </dev/null &
    echo $! >"$H/pid"
    for _ in {1..100}; do
        "$0" ctl ssh -F "$D/ssh_config" -o ConnectTimeout=1 "$NET.$((10 + $1))" true 2>/dev/null && return
        sleep 0.1
    done
    cat "$H/boot.log" >&2
    echo "$name does not come up" >&2
    return 1
}

stop() { # node$1; its connections are not closed
    ip -n $CTL link del "mpinn$1" 2>/dev/null || true
    kill -KILL "$(cat "$D/node$1/pid")" 2>/dev/null || true # --kill-child takes the rest
    rm -f "$D/node$1/pid"
    ip netns del "$NAME-node$1" 2>/dev/null || true
}

shape() { # node$1, RATE: acknowledgements pass the queue; the rest goes out in pieces of an eighth of a millisecond
    within=(ip netns exec "$NAME-node$1")
    "${within[@]}" tc qdisc del dev eth0 root 2>/dev/null || true
    "${within[@]}" ip link set eth0 gso_max_size 65536
    [ "$2" = free ] && return
    mbits=${2%mbit}
    [ "$mbits" != "$2" ] || mbits=$((1000 * ${2%gbit}))
    piece=$((mbits > 100 ? 16 * mbits : 1600))
    "${within[@]}" ip link set eth0 gso_max_size $((piece < 65536 ? piece : 65536))
    "${within[@]}" tc qdisc add dev eth0 root handle 1: htb default 1
    "${within[@]}" tc class add dev eth0 parent 1: classid 1:1 htb rate "$2" burst $((piece > 6400 ? piece / 4 : 1600)) quantum 1514
    "${within[@]}" tc filter add dev eth0 parent 1: protocol ip u32 match u16 0 0xff80 at 2 flowid 1:0
}

up() {
    base
    network
    { echo 127.0.0.1 localhost; for i in $(seq "$1"); do echo "$NET.$((10 + i)) node$i"; done; } >"$D/hosts"
    for i in $(seq "$1"); do start "$i"; done
}

down() {
    for host in "$D"/node*; do
        [ ! -d "$host" ] || stop "${host##*/node}"
        ! mountpoint -q "$host/mount" || umount "$host/mount"
    done
    ip netns del $CTL 2>/dev/null || true
    rm -rf "$D"/node* "$D"/key* "$D"/known_hosts "$D"/ssh_config "$D"/hosts
}

within() { # node$1, COMMAND
    exec nsenter --all --root --wd --target "$(pgrep --parent "$(cat "$D/node$1/pid")")" "${@:2}"
}

case ${1:-} in
    up) up "${2:-3}" ;;
    base) base ;;
    ctl) exec ip netns exec $CTL "${@:2}" ;;
    in) within "${2#node}" "${@:3}" ;;
    start) start "${2#node}" ;;
    stop) stop "${2#node}" ;;
    cut) ip -n $CTL link set "mpinn${2#node}" down ;;
    shape) shape "${2#node}" "$3" ;;
    mend) ip -n $CTL link set "mpinn${2#node}" up ;;
    down) down ;;
    *) sed -n '2,11s/^# //p' "$0"; exit 2 ;;
esac
