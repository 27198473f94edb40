# The last line of a job's log is what its failure is told with: apt's own last "E:" line says only that dpkg failed.
fetch() {
    # --no-remove: installing one thing never takes another away.
    apt install --no-install-recommends --no-remove "$@" 2>&1
    echo "status $?"
}
attempt() {
    fetch "$@" | tee "$log" | grep -v '^status '
    tail -n 1 "$log" | grep -qx 'status 0'
}
ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1 || apt update || exit 100
attempt "$@" && proved "$@"
apt update && attempt "$@" && proved "$@"
broken=$(dpkg-query -W -f='${db:Status-Abbrev}${Package}\n' | sed -n 's/^\(.[UFHWt].\|..R\)//p' | paste -s -d ' ' -)
if [ -n "$broken" ]; then
    echo "dpkg was interrupted at $broken: on the host, dpkg --configure -a, then apt-get -f install"
else
    grep -m 1 -E '^(E:|dpkg: error|Err:)' "$log" || echo 'apt-get install failed'
fi
exit 100
