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

# An --assumeno that could be done ends with "Operation aborted", with status 1 like one that could not.
solved() {
    # shellcheck disable=SC2086
    patient dnf $options --assumeno "$@"
    grep -qE 'Operation aborted|Nothing to do' "$log"
}

cause() {
    grep -m 1 -E 'conflicts with|nothing provides|No match for argument|find a match' "$log" | sed 's/^ *- //' | grep . ||
        grep -m 1 -A 1 -E '^(Error|Failed)' "$log" | paste -s -d ' ' - | grep . || echo 'dnf install failed'
    exit 1
}

solved install "$@" || solved --refresh install "$@" || cause
# A package that another one "Obsoletes" goes even with obsoletes=False (seen: dnf 4.23), so the plan is read first.
keep "$(awk '/^Removing/ { r = 1; next } /^[^ ]/ { r = 0 } $1 == "replacing" { print $2 } r && NF { print $1 }' "$log" |
    paste -s -d ' ' -)"
# shellcheck disable=SC2086
patient dnf $options -y install "$@" || cause
proved "$@"
