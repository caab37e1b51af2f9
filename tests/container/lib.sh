# Sourced by run: saying how it went, the image, and the container.

ok() { passed=$((passed + 1)); echo "ok    $1"; }
fail() {
    failed=$((failed + 1))
    echo "FAIL  $1"
    shift
    [ $# -eq 0 ] || printf '%s\n' "$*" | sed 's/^/      /'
}
note() { echo "      $*"; }
# is NAME EXPECTED GOT
is() { if [ "$2" = "$3" ]; then ok "$1"; else fail "$1" "expected: $2" "got:      $3"; fi; }
# has NAME PART WHOLE
has() { case "$3" in *"$2"*) ok "$1" ;; *) fail "$1" "expected something with: $2" "got: $3" ;; esac; }
# until_is NAME SECONDS EXPECTED COMMAND…: polls for a fact, with a bound.
until_is() {
    local name=$1 end=$((SECONDS + $2)) expected=$3 got
    shift 3
    while :; do
        got=$("$@" 2>/dev/null)
        if [ "$got" = "$expected" ]; then ok "$name"; return 0; fi
        if [ $SECONDS -ge $end ]; then fail "$name" "expected: $expected" "got:      $got"; return 1; fi
        sleep 0.1
    done
}
ms() { date +%s%3N; }

# A minimal Debian, unpacked from the cache; made once.
image() {
    local cache=${XDG_CACHE_HOME:-$HOME/.cache}/opros-container tar
    tar=$cache/bookworm-$(dpkg --print-architecture)-1.tar
    mkdir -p "$cache" "$work/root" || return 1
    if [ ! -e "$tar" ]; then
        echo "== making $tar, once"
        debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,sqlite3,ca-certificates bookworm "$work/made" \
            >"$work/debootstrap.log" 2>&1 || { tail -n 5 "$work/debootstrap.log"; return 1; }
        # Moved into place whole: a run that is interrupted leaves no half of an image behind.
        tar -C "$work/made" --exclude=./var/cache/apt/archives/*.deb -cf "$tar.$$" . && mv "$tar.$$" "$tar" || return 1
        rm -rf "$work/made"
    fi
    tar -C "$work/root" -xf "$tar"
}

# --register=no and --keep-unit: the machine around it may have neither systemd nor D-Bus.
boot() {
    setsid systemd-nspawn -q --register=no --keep-unit --private-network --console=passive -D "$work/root" -b \
        </dev/null >"$work/boot.log" 2>&1 &
    nspawn=$!
    disown
    local end=$((SECONDS + 60)) state
    while [ $SECONDS -lt $end ] && [ -d /proc/$nspawn ]; do
        leader=$(cat /proc/$nspawn/task/*/children 2>/dev/null | awk '{ print $1; exit }')
        if [ -n "$leader" ]; then
            state=$(inside systemctl is-system-running 2>/dev/null)
            case $state in running | degraded) return 0 ;; esac
        fi
        sleep 0.2
    done
    return 1
}

# Ends the container as a machine ends that is switched off in good order.
power_off() {
    local end=$((SECONDS + 60))
    inside systemctl poweroff >/dev/null 2>&1
    while [ -d "/proc/$nspawn" ] && [ $SECONDS -lt $end ]; do sleep 0.1; done
    [ ! -d "/proc/$nspawn" ]
}

# Kills the container's first process by its number: with it everything in the container ends.
clean_up() {
    local pid
    if [ -n "$leader" ] && [ -d "/proc/$leader" ]; then
        [ "$failed" = 0 ] || inside journalctl --no-pager -u opros -u opros-vendors -n 60 2>/dev/null | cut -c 1-220
        for pid in $leader $nspawn; do kill -9 "$pid" 2>/dev/null; done
        for _ in $(seq 50); do [ -d "/proc/$leader" ] || break; sleep 0.1; done
    fi
    [ -n "$work" ] || return
    grep -o " $work/[^ ]*" /proc/mounts | sort -r | while read -r mount; do umount -l "$mount"; done
    if [ -n "${KEEP:-}" ]; then echo "kept: $work"; return; fi
    # What was killed may still be letting go of its files.
    for _ in 1 2 3 4 5; do rm -rf --one-file-system "$work" 2>/dev/null && break; sleep 1; done
}

# Runs in the container, as root and with a plain environment.
inside() { timeout 180 nsenter -t "$leader" -a -- env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root "$@"; }
# as USER COMMAND…
as() { local user=$1; shift; inside runuser -u "$user" -- "$@"; }
# put FILE MODE: standard input, as a file of root's in the container.
put() { install -D -m "$2" /dev/stdin "$work/root$1"; }

mailbox=/var/lib/opros/mailbox/mailbox.db
vendors=http://127.0.0.1:8099
# The shop is another program's user, in group opros.
sql() { as shop sqlite3 -cmd '.timeout 5000' $mailbox "$1"; }
order() { sql "INSERT INTO jobs (kind, params) VALUES ('tronk.report', '{\"phone\":\"$1\"}') RETURNING id"; }
state_of() { sql "SELECT state FROM jobs WHERE json_extract(params, '\$.phone') = '$1'"; }
property() { inside systemctl show opros.service -p "$1" --value; }
# How often systemd has started it again, and how it stands.
stands() { echo "$(property NRestarts) $(is_active)"; }
# How many of the orders of the shop that match are in such a state.
count() { sql "SELECT count(*) FROM jobs WHERE $1"; }
# The log without colours.
journal() { inside journalctl --no-pager -o cat -u opros | tail -n "${1:-1000}" | sed 's/\x1b\[[0-9;]*m//g'; }
health() { as shop opros health | head -n 1 | sed s/degraded/ready/; }
is_active() { inside systemctl is-active "${1:-opros.service}"; }
# From within the container's network.
vendor() { local path=$1; shift; nsenter -t "$leader" -n curl -sS --max-time 10 "$@" "$vendors/_sim/$path"; }
faults() { vendor faults -X PUT -d "{\"rules\":[$1]}" >/dev/null; }
paid() { vendor ledger | grep -o "\"$1\"" | wc -l | tr -d ' '; }
ledger_lines() { vendor ledger | grep -o '"7999[0-9]*"' | sort; }
