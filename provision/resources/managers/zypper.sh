install() { # options and names
    rc=0
    zypper --non-interactive install --no-recommends --no-force-resolution --auto-agree-with-licenses --name "$@" || rc=$?
    # zypper(8): updates are pending, a reboot or a restart is needed, a repository was left out, a script of a package
    # failed. 104 is a failure: a name that nothing has.
    case $rc in 100 | 101 | 102 | 103 | 106 | 107) return 0 ;; esac
    return "$rc"
}

solved() {
    patient install --dry-run "$@"
}

solved "$@" || { patient zypper --non-interactive refresh && solved "$@"; } || cause
# A package that another one "Obsoletes" goes without a question: the plan is read first.
keep "$(awk '/going to be REMOVED:/ { r = 1; next } !/^  / { r = 0 } r { $1 = $1; print }' "$log" | paste -s -d ' ' -)"
patient install "$@" || cause
proved "$@"
