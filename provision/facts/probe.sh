# What this host is, and how it is now, as `key=value` lines. Read only; POSIX sh (dash, bash, busybox).
#
# `script()` in __init__.py puts two assignments before this text:
#   readings  1: print the readings too; 0: the identity only
#   paths     directories whose file systems are asked for, one a line
# PROVISION_PROBE_ROOT is a directory that stands for `/`: nothing outside it is read (tests). A host's own file
# /etc/provision/probe-root names a directory that is laid over `/` (lab hosts and twins with pretended hardware).
# Every line of a file or a command gets its own key, so no content can pretend to be another record.
# shellcheck disable=SC2154 # readings, paths: see above

export LC_ALL=C
exec 2>/dev/null
umask 077

over=${PROVISION_PROBE_ROOT-}
base=$over
if [ -n "$over" ]; then
    PATH=$over/usr/local/sbin:$over/usr/local/bin:$over/usr/sbin:$over/usr/bin:$over/usr/lib/wsl/lib:$PATH
else
    if [ -f /etc/provision/probe-root ]; then
        IFS= read -r over </etc/provision/probe-root
    fi
    PATH=${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/wsl/lib
    if [ -n "$over" ]; then
        PATH=$over/usr/local/bin:$over/usr/sbin:$over/usr/bin:$over/usr/lib/wsl/lib:$PATH
    fi
fi
export PATH

at() { # PATH: where it really lies, in $at
    at=$over$1
    [ -e "$at" ] || at=$base$1
}

say() { # KEY VALUE
    printf '%s=%s\n' "$1" "$2"
}

lines() { # KEY: each line that a command printed, 1000 at most
    sed "s/^/$1=/;1000q"
}

each() { # KEY TEXT: each line of a short text that is there already, 1000 at most; `lines` would be a process
    left=1000
    set -f
    IFS='
'
    for value in $2; do
        [ "$left" -gt 0 ] || break
        left=$((left - 1))
        say "$1" "$value"
    done
    unset IFS
    set +f
}

first() { # KEY PATH: the first line of a regular file (a pipe would block)
    at "$2"
    [ -f "$at" ] || return 0
    value=
    IFS= read -r value <"$at"
    say "$1" "$value"
}

file() { # KEY PATH: the lines of a file, 64 KiB at most
    at "$2"
    [ -f "$at" ] || return 1
    each "$1" "$(head -c 65536 "$at")"
}

mark() { # NAME PATH...: whether one of them exists
    name=$1
    shift
    for path; do
        at "$path"
        if [ -e "$at" ]; then
            say mark "$name"
            return
        fi
    done
}

has() { # COMMAND: whether PATH has it
    command -v "$1" >/dev/null
}

system() {
    file os /etc/os-release || file os /usr/lib/os-release
    first debian_version /etc/debian_version
    first hostname /proc/sys/kernel/hostname
    first kernel /proc/sys/kernel/osrelease
    first machine_id /etc/machine-id
    say machine "$(uname -m)"
    if has dpkg; then
        say dpkg_arch "$(dpkg --print-architecture)"
    else
        say long_bit "$(getconf LONG_BIT)"
    fi
    at /run/systemd/system
    if [ -d "$at" ]; then say init systemd; else first init /proc/1/comm; fi
    for manager in apt-get dnf5 dnf yum tdnf zypper pacman apk; do
        has "$manager" && say manager "$manager"
    done
    # A unit goes with its package; the package's other files may stay as configuration.
    for unit in chrony chronyd ntpsec openntpd ntp ntpd; do
        at "/usr/lib/systemd/system/$unit.service"
        [ -f "$at" ] && say time_daemon "$unit"
    done
    at /etc/group
    sed -n -E 's/^(render|video|docker|ollama):/group=&/p' "$at"
}

marks() {
    mark ostree /run/ostree-booted
    mark nixos /etc/NIXOS
    mark alpine /etc/alpine-release
    mark openrc /run/openrc
    mark dxg /dev/dxg
    mark raspberrypi /etc/rpi-issue
    mark selinux /sys/fs/selinux/enforce
    mark docker /.dockerenv
    mark podman /run/.containerenv
    first container /run/systemd/container
    # Debian's package musl puts its loader beside glibc's: only the first alone means a musl system.
    musl=
    for loader in "$base"/lib/ld-musl-*; do [ -e "$loader" ] && musl=1; done
    for loader in "$base"/lib/ld-linux* "$base"/lib64/ld-linux* "$base"/lib/*-linux-gnu*/ld-linux*; do
        [ -e "$loader" ] && musl=
    done
    [ -n "$musl" ] && say mark musl
    first tegra /etc/nv_tegra_release
    file dgx /etc/dgx-release
    for name in compatible model; do
        at "/proc/device-tree/$name"
        [ -f "$at" ] && tr '\0' '\n' <"$at" | lines "tree_$name"
    done
    # systemd-detect-virt would cost 8 ms, a third of this part, to read the same files.
    first vendor /sys/class/dmi/id/sys_vendor
    first product /sys/class/dmi/id/product_name
    first hypervisor /sys/hypervisor/type
}

processor() {
    first cpus /sys/devices/system/cpu/online
    at /proc/cpuinfo
    while IFS= read -r value; do
        case $value in
        "model name"* | Model* | uarch*) say cpu "$value" ;;
        *" hypervisor"*) say mark hypervisor ;;
        "") break ;;
        esac
    done <"$at"
    at /proc/meminfo
    while read -r name value _; do
        case $name in
        MemTotal:) say memory "$value" ;;
        MemAvailable:) say memory_available "$value" ;;
        Buffers:) break ;;
        esac
    done <"$at"
}

pci() { # one line a display controller (03), accelerator (12) or NVSwitch (0680): slot class vendor device driver memory
    at /sys/bus/pci/devices
    for device in "$at"/*; do
        class=
        [ -f "$device/class" ] && read -r class <"$device/class"
        case $class in
        0x03* | 0x12* | 0x0680*) ;;
        *) continue ;;
        esac
        read -r vendor <"$device/vendor"
        case $class$vendor in 0x0680*) [ "$vendor" = 0x10de ] || continue ;; esac
        read -r id <"$device/device"
        driver=$(readlink "$device/driver")
        vram=0
        [ -f "$device/mem_info_vram_total" ] && read -r vram <"$device/mem_info_vram_total"
        say pci "${device##*/} $class $vendor $id ${driver##*/} $vram"
        [ -f "$device/product_name" ] && read -r name <"$device/product_name" && say pci_name "${device##*/} $name"
    done
}

query() { # FIELDS: ask nvidia-smi. One that hangs inside the driver cannot even be killed: it is left behind a pipe.
    mkfifo "$pipe"
    {
        timeout -k 1 10 nvidia-smi --query-gpu="$1" --format=csv,noheader,nounits
        say rc "$?"
    } >"$pipe" </dev/null &
    answer=$(timeout 12 head -c 65536 "$pipe")
    kill "$!"
    rm -f "$pipe"
}

nvidia() {
    first nvidia_own /etc/provision/nvidia-driver
    first nvidia_module /proc/driver/nvidia/version
    first nvidia_version /sys/module/nvidia/version
    at /proc/driver/nvidia/gpus
    if [ -d "$at" ]; then
        grep -h -E '^(Model|GPU UUID|Bus Location):' "$at"/*/information | lines nvidia_gpu
    fi
    at /proc/driver/nvidia/capabilities
    for instance in "$at"/gpu*/mig/gi*; do [ -e "$instance" ] && say mark mig && break; done
    has nvidia-smi || return 0
    say smi_asked 1
    folder=$(mktemp -d "${TMPDIR:-/tmp}/provision.XXXXXX") || return 0
    pipe=$folder/pipe
    fields=pci.bus_id,driver_version,uuid,memory.total,memory.used,utilization.gpu,temperature.gpu,name
    # Drivers before 510 refuse the whole query for a field that they do not know.
    query "$fields,compute_cap"
    case $answer in
    *"not a valid field"*) query "$fields" ;;
    esac
    rm -rf "$folder"
    each smi "$answer"
}

amd() {
    mark kfd /dev/kfd
    at /sys/class/kfd/kfd/topology/nodes
    [ -d "$at" ] || return 0
    grep -H -E '^(gfx_target_version|location_id|domain) ' "$at"/*/properties | sed 's|.*/nodes/||' | lines kfd
}

nodes() { # device files that AMD's and Intel's GPUs compute through: mode and number of the owning group, then its name
    at /dev/dri
    set -- "$at"/renderD*
    at /dev/kfd
    [ -e "$at" ] || [ -e "$1" ] || return 0
    owners=$(stat -L -c '%a %g' "$at" "$@")
    each node "$owners"
    numbers=$(printf '%s\n' "$owners" | sed '/ 0$/d;s/.* /:/;s/$/:/')
    at /etc/group
    [ -z "$numbers" ] || grep -F "$numbers" "$at" | lines group
}

engine() { # the package that Docker came with, in dpkg's and pacman's own lists: asking them would cost half of this part
    # (rpm has none that sh can read, and is asked where something is there; dpkg proves nothing: Fedora has one)
    at /var/lib/dpkg/info
    for package in docker-ce docker.io moby-engine podman-docker; do
        program='/usr/s?bin/dockerd'
        [ "$package" != podman-docker ] || program=/usr/bin/docker
        [ -f "$at/$package.list" ] && grep -qxE "$program" "$at/$package.list" && say docker_package "$package"
    done
    at /var/lib/pacman/local
    for package in docker podman-docker; do
        for folder in "$at/$package"-[0-9]*; do [ -d "$folder" ] && say docker_package "$package"; done
    done
    if has rpm; then
        set --
        for path in /usr/bin/dockerd /usr/sbin/dockerd /usr/bin/docker; do
            at "$path"
            [ -e "$at" ] && set -- "$@" "$path"
        done
        [ $# -gt 0 ] && rpm -qf --qf '%{NAME}\n' "$@" | grep -xE 'docker-ce|moby-engine|docker|podman-docker' | lines docker_package
    fi
    at /snap/docker
    [ -d "$at" ] && say docker_package snap
}

address() { # 192.0.2.1 and 2001:db8::1 are for documentation: nothing is sent, the kernel only names the way
    if has ip; then
        route=$(ip -o route get 192.0.2.1)
        case $route in *" src "*) ;; *) route=$(ip -o -6 route get 2001:db8::1) ;; esac
        case $route in *" src "*) ;; *) route=$(ip -o -4 addr show scope global) ;; esac
        each ip "$route"
    else
        file route /proc/net/route
        file fib /proc/net/fib_trie
    fi
}

storage() {
    wanted=$paths
    set -f
    set --
    # Newlines alone separate: a directory may have blanks in its name.
    IFS='
'
    for path in $wanted; do
        there=$path
        while [ -n "$there" ] && [ ! -e "$there" ]; do there=${there%/*}; done
        say path "$path"
        set -- "$@" "${there:-/}"
    done
    unset IFS
    set +f
    timeout 10 df -P -T -k "$@" | lines df
}

containers() {
    if has docker; then
        timeout 10 docker --version </dev/null | lines docker
    fi
    first docker_pid /run/docker.pid
    # A running container has a task directory of containerd: counting them asks neither of the two daemons.
    count=0
    for state in /run/containerd /run/docker/containerd/daemon; do
        at $state/io.containerd.runtime.v2.task/moby
        for task in "$at"/*; do [ -d "$task" ] && count=$((count + 1)); done
    done
    say docker_containers "$count"
}

ollamas() {
    seen=' '
    for path in /usr/local/bin/ollama /usr/bin/ollama /bin/ollama /opt/ollama/bin/ollama /snap/bin/ollama; do
        at "$path"
        if [ ! -f "$at" ] || [ ! -x "$at" ]; then continue; fi
        real=$(readlink -f "$at")
        case $seen in *" $real "*) continue ;; esac
        seen="$seen$real "
        real=${real#"$over"}
        case $real in
        /opt/ollama/[0-9]*/bin/ollama) said= ;; # our own: the directory is named after the version
        *) said=$(OLLAMA_HOST=127.0.0.1:1 HOME=${HOME:-/root} timeout 5 "$at" -v 2>&1 </dev/null | head -c 2000 | tr '\n' ' ') ;;
        esac
        say ollama "$path $real $said"
    done
}

guards() {
    first selinux /sys/fs/selinux/enforce
    at /etc/ufw/ufw.conf
    [ -f "$at" ] && grep -q '^ENABLED=yes' "$at" && say firewall ufw
    # A running unit has a control group; asking systemctl would cost more than the rest of this section.
    for group in /sys/fs/cgroup /sys/fs/cgroup/systemd; do
        at $group/system.slice/firewalld.service
        [ -d "$at" ] && say firewall firewalld
    done
    has nft && timeout 5 nft list tables | lines nft
    at /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
    [ -f "$at" ] && say secure_boot "$(tail -c 1 "$at" | od -A n -t u1)"
    mark reboot /run/reboot-required /var/run/reboot-required
    at /lib/modules
    for modules in "$at"/*; do [ -d "$modules" ] && say modules "${modules##*/}"; done
}

sockets() {
    if has ss; then
        timeout 10 ss -H -l -t -n -p | lines ss
    else
        for table in tcp tcp6; do
            at /proc/net/$table
            grep -E '^ *[0-9]+: [0-9A-F:]+ [0-9A-F:]+ 0A ' "$at" | lines "$table"
        done
    fi
}

clocks() {
    first load /proc/loadavg
    first uptime /proc/uptime
    say clock "$(date +%s)"
}

say begin identity
system
marks
processor
pci
nvidia
amd
nodes
engine
address
say end identity
if [ "$readings" = 1 ]; then
    say begin readings
    storage
    containers
    ollamas
    guards
    sockets
    clocks
    say end readings
fi
exit 0
