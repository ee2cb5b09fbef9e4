#!/usr/bin/env bash
# A 32-bit ARM board on another machine: Cortex-A7, Debian armhf, systemd, sshd, under qemu. To see that things work there,
# never how fast: arithmetic is some 600 times slower than this machine's.
#   board.sh build     the card: Debian with Open MPI, mpi4py, numpy and a compiler (ten minutes, once)
#   board.sh up        boot a fresh copy of it; user admin may sudo, by DIR/key at 127.0.0.1:2222, host key in DIR/known_hosts
#   board.sh down      pull the plug
# Needs root and debootstrap, qemu-user-static, binfmt-support, qemu-system-arm, e2fsprogs, cpio, openssh-client.
# BOARD_DIR (default /var/tmp/mpinn-board) keeps the card, and the tests' results.
set -euo pipefail

D=${BOARD_DIR:-/var/tmp/mpinn-board}
R=$D/root
NAME=bananapi
SYSTEM=openssh-server,systemd-sysv,udev,iproute2,procps,sudo,python3,python3-numpy,python3-yaml
INSTALLED="openmpi-bin python3-mpi4py gcc libc6-dev python3-dev"
DEPLOYED="python3-venv python3-packaging python3-apt"
# What the kernel needs to find its card and its network.
MODULES="virtio_mmio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk failover net_failover virtio_net
    crc32-arm-ce crc32c_generic jbd2 mbcache crc16 ext4 virtio-rng"

system() { # Debian, unpacked and configured by this machine through qemu-user
    mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
    update-binfmts --enable qemu-arm
    mirror=$(sed -n 's/^URIs: //p; s/^deb \(http[^ ]*\) .*/\1/p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -1 || true)
    debootstrap --arch=armhf --variant=minbase --include="$SYSTEM" bookworm "$R" "${mirror:-http://deb.debian.org/debian}"
    printf '#!/bin/sh\nexit 101\n' >"$R/usr/sbin/policy-rc.d"
    chmod +x "$R/usr/sbin/policy-rc.d"
    DEBIAN_FRONTEND=noninteractive chroot "$R" apt-get install --yes --no-install-recommends $INSTALLED
    DEBIAN_FRONTEND=noninteractive chroot "$R" apt-get install --yes --no-install-recommends --download-only $DEPLOYED
    rm "$R/usr/sbin/policy-rc.d"
    # The kernel is unpacked, not installed: making its initrd here takes longer than anybody waits.
    chroot "$R" sh -ec 'cd /tmp
        apt-get download busybox-static "$(apt-cache depends linux-image-armmp | sed -n "s/.*Depends: \(linux-image-[0-9].*\)/\1/p" | head -1)"
        dpkg --extract busybox-static*.deb busybox'
    dpkg --fsys-tarfile "$R"/tmp/linux-image-*.deb | tar --extract --directory "$R" --keep-directory-symlink
}

settings() { # its name, network, users and keys
    echo $NAME >"$R/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 %s\n' $NAME >"$R/etc/hosts"
    echo '/dev/vda / ext4 defaults 0 1' >"$R/etc/fstab"
    printf '[Match]\nName=e*\n[Network]\nDHCP=yes\n' >"$R/etc/systemd/network/lan.network"
    chroot "$R" systemctl enable --quiet systemd-networkd ssh
    chroot "$R" useradd --create-home --shell /bin/bash admin
    echo 'admin ALL=(ALL) NOPASSWD: ALL' >"$R/etc/sudoers.d/admin"
    ssh-keygen -q -t ed25519 -N '' -C control -f "$D/key"
    install -d -m 700 "$R/home/admin/.ssh"
    cp "$D/key.pub" "$R/home/admin/.ssh/authorized_keys"
    chroot "$R" chown -R admin: /home/admin/.ssh
    echo "[127.0.0.1]:2222 $(cut -d' ' -f1-2 "$R/etc/ssh/ssh_host_ed25519_key.pub")" >"$D/known_hosts"
}

card() { # the kernel, an initrd that only finds the card, the card
    I=$D/initrd
    mkdir -p "$I"/{bin,dev,proc,sys,root,modules}
    mv "$R"/tmp/busybox/bin/busybox "$I/bin/"
    rm -rf "$R"/tmp/*
    for module in $MODULES; do
        found=$(find "$R/lib/modules" -name "$module.ko*" | head -1)
        if [ -n "$found" ]; then cp "$found" "$I/modules/"; echo "/modules/$(basename "$found")" >>"$I/order"; fi
    done
    cat >"$I/init" <<'INIT'
#!/bin/busybox sh
alias b=/bin/busybox
b mount -t proc proc /proc; b mount -t sysfs sys /sys; b mount -t devtmpfs dev /dev
while read module; do b insmod $module; done </order
until [ -b /dev/vda ]; do b sleep 0.2; done
b mount -t ext4 -o rw /dev/vda /root
b mount -o move /dev /root/dev; b umount /sys; b umount /proc
exec /bin/busybox switch_root /root /sbin/init
INIT
    chmod +x "$I/init"
    (cd "$I" && find . | cpio --create --format newc --quiet | gzip >"$D/initrd.gz")
    cp "$R"/boot/vmlinuz-*-armmp "$D/vmlinuz"
    truncate --size 2600M "$D/card.part"
    mkfs.ext4 -q -d "$R" "$D/card.part"
    mv "$D/card.part" "$D/card"
}

build() {
    [ -e "$D/card" ] && return
    rm -rf "$D"
    mkdir -p "$D"
    (system; settings; card) >"$D.log" 2>&1
    rm -rf "$R" "$D/initrd"
}

up() {
    build
    qemu-system-arm -M virt,highmem=off,gic-version=2 -cpu cortex-a7 -smp 2 -m 2048 -accel tcg,thread=multi -display none \
        -serial "file:$D/console.log" -no-reboot -daemonize -pidfile "$D/pid" -kernel "$D/vmlinuz" -initrd "$D/initrd.gz" \
        -append "console=ttyAMA0 root=/dev/vda rw loglevel=4" \
        -drive "file=$D/card,format=raw,if=none,id=card,snapshot=on" -device virtio-blk-device,drive=card \
        -netdev "user,id=lan,restrict=on,hostfwd=tcp:127.0.0.1:2222-:22" -device virtio-net-device,netdev=lan \
        -device virtio-rng-device
    for _ in {1..60}; do
        ssh -i "$D/key" -p 2222 -o UserKnownHostsFile="$D/known_hosts" -o StrictHostKeyChecking=yes -o ConnectTimeout=10 \
            admin@127.0.0.1 true 2>/dev/null && return
        sleep 5
    done
    echo "the board does not come up: $D/console.log" >&2
    return 1
}

down() {
    [ ! -e "$D/pid" ] || kill -KILL "$(cat "$D/pid")" 2>/dev/null || true
    rm -f "$D/pid"
}

case ${1:-} in
    build | up | down) "$1" ;;
    *) sed -n '2,9s/^# //p' "$0"; exit 2 ;;
esac
