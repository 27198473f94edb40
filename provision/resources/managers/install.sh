# Installs "$@", for every manager. `query` prints what of "$@" is installed; `name` is the manager's.
log=$(mktemp) || exit 1
trap 'rm -f "$log" "$log.installed"' EXIT

proved() { # the last word about a transaction that ended well
    query "$@" >"$log.installed"
    missing=
    for wanted; do
        grep -q "^$wanted installed " "$log.installed" || missing="$missing $wanted"
    done
    [ -n "$missing" ] || exit 0
    echo "$name ended without an error, but these are not installed:$missing"
    exit 1
}
