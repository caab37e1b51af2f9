#!/usr/bin/env bash
# A store's disk that fills up under paid orders, on the real binary and a real small tmpfs: new orders stop, what was paid
# for is recorded all the same, and with room again everything goes on. Skipped with a word where tmpfs cannot be mounted.
#
#   tests/full-disk.sh [BINARY]     (default: target/release/opros, else target/debug/opros; needs root, curl, sqlite3)
set -uo pipefail
cd "$(dirname "$0")/.."

bin=${1:-target/release/opros}
[ -n "${1:-}" ] || [ -x "$bin" ] || bin=target/debug/opros
bin=$(realpath "$bin") || exit 2
for name in $(compgen -v OPROS_); do unset "$name"; done
dir=$(mktemp -d /tmp/opros-disk-XXXXXX)
mkdir "$dir/store"
if ! mount -t tmpfs -o size=12m,mode=0700 tmpfs "$dir/store" 2>/dev/null; then
    rm -rf "$dir"
    echo "skipped: tmpfs cannot be mounted here (root is needed)"
    exit 0
fi
sim='' serve='' failed=0
clean_up() {
    for pid in $serve $sim; do kill -9 "$pid" 2>/dev/null; done
    wait 2>/dev/null
    umount -l "$dir/store"
    if [ -n "${KEEP:-}" ]; then echo "kept: $dir"; else rm -rf "$dir"; fi
}
trap clean_up EXIT
socket=$dir/admin.sock

check() { if [ "$2" = "$3" ]; then echo "ok    $1"; else failed=1; printf 'FAIL  %s\n      expected: %s\n      got:      %s\n' "$1" "$2" "$3"; fi; }
until_is() {
    local name=$1 end=$((SECONDS + $2)) expected=$3 got
    shift 3
    while got=$("$@" 2>/dev/null); [ "$got" != "$expected" ] && [ $SECONDS -lt $end ]; do sleep 0.05; done
    check "$name" "$expected" "$got"
}
http() { local path=$1; shift; curl -sS --max-time 20 --unix-socket "$socket" "$@" "http://opros$path"; }
status() { http /v1/health -o /dev/null -w '%{http_code}'; }
has_cause() { http /v1/health | grep -q "\"code\":\"$1\"" && echo yes || echo no; }
count() { http "/v1/jobs?state=$1&limit=1000" | grep -o '"id":[0-9]*,"kind"' | wc -l | tr -d ' '; }
order() { http /v1/jobs -d "{\"kind\":\"tronk.report\",\"params\":{\"phone\":\"7999$(printf %07d "$1")\"}}" -o /dev/null -w '%{http_code}'; }
paid() { curl -sS --max-time 5 "http://$vendors/_sim/ledger" | grep -o '"tronk"' | wc -l | tr -d ' '; }

"$bin" simulate --listen 127.0.0.1:0 --speed 20 >"$dir/simulate.txt" 2>&1 &
sim=$!
disown
until_is "the vendors are played" 10 yes sh -c "grep -q 127.0.0.1 '$dir/simulate.txt' && echo yes"
vendors=$(grep -o '127\.0\.0\.1:[0-9]*' "$dir/simulate.txt" | head -n 1)
key=$(grep -o '[0-9a-f]\{8\}-[0-9a-f-]\{27\}' "$dir/simulate.txt" | head -n 1)
cat >"$dir/opros.toml" <<END
[store]
path = "$dir/store/opros.db"
free_floor = "2MiB"
ballast = "1MiB"
[mailbox]
path = ""
[admin]
socket = "$socket"
[accounts.tronk]
vendor = "tronk"
base_url = "http://$vendors/tronk"
key = "$key"
poll = [{ every = "500ms", for = "5m" }]
END
"$bin" serve --config "$dir/opros.toml" >"$dir/serve.log" 2>&1 &
serve=$!
disown
until_is "the daemon answers" 15 200 status
check "the ballast lies there" 1048576 "$(stat -c %s "$dir/store/opros.ballast")"

for n in 1 2 3 4 5; do order "$n" >/dev/null; done
until_is "five orders were paid" 10 5 paid

# Not one byte is left; the reports come in four seconds.
dd if=/dev/zero of="$dir/store/fill" bs=64k 2>/dev/null
until_is "health names the cause within ten seconds" 10 yes has_cause disk_low
order 6 >/dev/null
until_is "what was paid for is recorded on a full disk" 30 5 count succeeded
check "nothing new was ordered" 5 "$(paid)"
check "the daemon is alive" yes "$(kill -0 "$serve" 2>/dev/null && echo yes)"

rm "$dir/store/fill"
until_is "with room again the cause goes" 10 no has_cause disk_low
check "a new order is taken" 201 "$(order 7)"
until_is "and paid" 10 yes sh -c "[ \$(curl -sS http://$vendors/_sim/ledger | grep -o '\"tronk\"' | wc -l) -ge 6 ] && echo yes"
until_is "and its report comes" 30 0 count waiting
until_is "the ballast lies there again" 10 1048576 stat -c %s "$dir/store/opros.ballast"
[ $failed = 0 ] || tail -n 30 "$dir/serve.log"
exit $failed
