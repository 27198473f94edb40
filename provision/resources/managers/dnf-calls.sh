# What every call of dnf needs.
#
# dnf 4 would wait for a lock for ever and not say whose it is; dnf 5 does not know the option and always fails at once.
options=--setopt=install_weak_deps=False
[ "$name" = dnf5 ] || options="$options --setopt=exit_on_lock=True"

busy() {
    if grep -q 'Failed to obtain.* transaction lock' "$log"; then
        echo 'Waiting for the lock, held by another package manager'
        return
    fi
    pid=$(sed -n 's/.* already locked by \([0-9]*\).*/\1/p' "$log")
    [ -n "$pid" ] || return 1
    echo "Waiting for the lock, held by process $pid ($(cat "/proc/$pid/comm" 2>/dev/null))"
}

cause() {
    grep -m 1 -E 'conflicts with|nothing provides|No match for argument|find a match' "$log" | sed 's/^ *- //' | grep . ||
        grep -m 1 -A 1 -E '^(Error|Failed)' "$log" | paste -s -d ' ' - | grep . || echo 'dnf failed'
    exit 1
}

refreshed() { # REPOSITORY; one that is left out would be a success
    # shellcheck disable=SC2086
    patient dnf $options --setopt=skip_if_unavailable=False -y makecache --repo "$1"
}
