#!/bin/sh
# One light host: sshd with a root directory, processes and a name of its own, on the machine's network.
# Run by `unshare --mount --uts --ipc --pid --fork --kill-child --propagation private`.
# Arguments: its directory, the shared lower root, its name, its port on 127.0.0.1.
set -eu
d=$1 lower=$2 name=$3 port=$4
mount -t tmpfs -o size=64m tmpfs "$d"
mkdir "$d/upper" "$d/work" "$d/root"
r=$d/root
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$d/upper,workdir=$d/work" "$r"
mount -t proc proc "$r/proc"
mount -t tmpfs -o mode=755,size=16m tmpfs "$r/run"
mount -t tmpfs -o mode=1777,size=64m tmpfs "$r/tmp"
mount -t tmpfs -o mode=755,size=1m tmpfs "$r/dev"
# The directory by which systemd is known: without it a host is refused.
mkdir -p "$r/dev/shm" "$r/run/sshd" "$r/run/systemd/system"
for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "$r/dev/${node%:*}" c 1 "${node#*:}"; done
ln -s /proc/self/fd "$r/dev/fd"
hostname "$name"
echo "$name" >"$r/etc/hostname"
printf '127.0.0.1 localhost %s\n' "$name" >"$r/etc/hosts"
exec chroot "$r" /usr/sbin/sshd -D -e -o ListenAddress=127.0.0.1 -p "$port"
