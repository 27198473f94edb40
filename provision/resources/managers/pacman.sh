# Never `-Sy`: that mixes new packages into an older system, a partial upgrade (ArchWiki: System maintenance). Under
# --noconfirm pacman answers "remove the other one?" with no, so a conflict fails.
busy() {
    grep -q 'unable to lock database' "$log" || return 1
    for open in /proc/[0-9]*/fd/*; do
        [ "$(readlink "$open")" = /var/lib/pacman/db.lck ] || continue
        pid=${open#/proc/} pid=${pid%%/*}
        echo "Waiting for the lock, held by process $pid ($(cat "/proc/$pid/comm"))"
        return 0
    done
    return 1
}

if ! ls /var/lib/pacman/sync/*.db >/dev/null 2>&1; then
    echo 'pacman has no package databases yet: run pacman -Syu on the host'
    exit 1
fi
patient pacman -S --noconfirm --needed --noprogressbar -- "$@" && proved "$@"
if grep -q 'unable to lock database' "$log"; then
    echo 'an interrupted pacman left /var/lib/pacman/db.lck: remove it on the host'
elif grep -q 'failed retrieving file.* error: 404' "$log"; then
    echo 'the package databases are older than the mirror: run pacman -Syu on the host, nothing is upgraded by the way'
elif grep -qE 'unknown trust|corrupted package' "$log"; then
    echo 'its keyring is older than the packages: on the host, pacman -Sy archlinux-keyring && pacman -Su'
else
    grep -m 1 -E 'are in conflict|exists in filesystem|target not found|unable to satisfy' "$log" ||
        grep -m 1 '^error' "$log" || echo 'pacman -S failed'
fi
exit 1
