# What dnf, zypper and pacman share: their output goes to the log too, and another one's lock is waited for.
# `busy` of each says whether a lock was in the way, and whose.
waited=0

watched() { # COMMAND...: gives its status
    {
        "$@" 2>&1
        printf '\nstatus %s\n' "$?"
    } | tee "$log" | sed '/^status [0-9]*$/d'
    return "$(sed -n '$s/^status //p' "$log")"
}

patient() { # COMMAND...
    while :; do
        rc=0
        watched "$@" || rc=$?
        if [ "$rc" = 0 ] || ! busy || [ "$waited" -ge 600 ]; then return "$rc"; fi
        sleep 2
        waited=$((waited + 2))
    done
}

keep() { # PACKAGES that the transaction would take away
    [ -n "$1" ] || return 0
    echo "this would remove $1, and nothing is removed by the way: do that on the host, or do not declare this"
    exit 1
}
