# What every call of zypper needs.
#
# Where zypp.conf has a lock_timeout it would wait for a lock without a word.
export ZYPP_LOCK_TIMEOUT=0

busy() {
    grep -q 'management is locked' "$log" || return 1
    sed -n 's/.*application with pid \(.*\)\.$/Waiting for the lock, held by process \1/p' "$log"
}

cause() {
    sed -n 's/^ *Error message: //p' "$log" | grep -m 1 . ||
        grep -v '\.error\]$' "$log" | grep -m 1 -E '^Problem|not found|verification failed|be determined|rror' |
        sed 's/^Problem: [0-9]*: //; s/^ *- //' | grep . || echo 'zypper failed'
    exit 1
}

refreshed() { # REPOSITORY
    patient zypper --non-interactive refresh "$1"
}
