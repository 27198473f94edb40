# An --assumeno that could be done ends with "Operation aborted", with status 1 like one that could not.
solved() {
    # shellcheck disable=SC2086
    patient dnf $options --assumeno "$@"
    grep -qE 'Operation aborted|Nothing to do' "$log"
}

solved install "$@" || solved --refresh install "$@" || cause
# A package that another one "Obsoletes" goes even with obsoletes=False (seen: dnf 4.23), so the plan is read first.
keep "$(awk '/^Removing/ { r = 1; next } /^[^ ]/ { r = 0 } $1 == "replacing" { print $2 } r && NF { print $1 }' "$log" |
    paste -s -d ' ' -)"
# shellcheck disable=SC2086
patient dnf $options -y install "$@" || cause
proved "$@"
