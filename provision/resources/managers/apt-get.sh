# apt-get as it is always called here. needrestart restarts services by itself on Ubuntu 24.04 unless told to list only.
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l NEEDRESTART_SUSPEND=1 APT_LISTCHANGES_FRONTEND=none LC_ALL=C
apt() {
    apt-get -q -y -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 \
        -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-confdef "$@"
}
