# What every call of zypper needs.
#
# Where zypp.conf has a lock_timeout it would wait for a lock without a word.
export ZYPP_LOCK_TIMEOUT=0

busy() {
    grep -q 'management is locked' "$log" || return 1
    sed -n 's/.*application with pid \(.*\)\.$/Waiting for the lock, held by process \1/p' "$log"
}

cause() {
    grep -m 1 -E '^Problem|not found|verification failed|rror' "$log" | sed 's/^Problem: [0-9]*: //' | grep . ||
        echo 'zypper failed'
    exit 1
}

refreshed() { # REPOSITORY
    patient zypper --non-interactive refresh "$1"
}
