#!/usr/bin/env bash
# A job's way from the sqlite3 shell, curl and the CLI to its result, on the real binary: `opros simulate` plays the
# vendors, `opros serve` runs in a temporary directory. Every check prints ok or FAIL; any FAIL makes the exit code 1.
#
#   tests/smoke.sh [BINARY]        (default: target/release/opros, else target/debug/opros)
#
# Needs bash, sqlite3 (3.37 or newer) and curl. Takes no fixed port and leaves nothing behind; KEEP=1 keeps the directory.
set -uo pipefail
cd "$(dirname "$0")/.."

bin=${1:-target/release/opros}
[ -n "${1:-}" ] || [ -x "$bin" ] || bin=target/debug/opros
[ -x "$bin" ] || { echo "no binary at $bin: cargo build --release" >&2; exit 2; }
bin=$(realpath "$bin")
for tool in sqlite3 curl; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: apt-get install $tool" >&2; exit 2; }
done

# Settings of whoever runs this must not reach the daemon under test.
for name in $(compgen -v OPROS_); do unset "$name"; done
dir=$(mktemp -d /tmp/opros-smoke-XXXXXX)
mailbox=$dir/mailbox/mailbox.db
socket=$dir/admin.sock
sim='' serve='' locker='' failed=0 passed=0

clean_up() {
    local pid
    for pid in $locker $serve $sim; do kill -9 "$pid" 2>/dev/null; done
    wait 2>/dev/null
    if [ -n "${KEEP:-}" ]; then echo "kept: $dir"; else rm -rf "$dir"; fi
}
trap clean_up EXIT
trap 'exit 130' INT TERM

ok() { passed=$((passed + 1)); echo "ok    $1"; }
fail() {
    failed=$((failed + 1))
    echo "FAIL  $1"
    shift
    [ $# -eq 0 ] || printf '%s\n' "$*" | sed 's/^/      /'
}
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
        sleep 0.05
    done
}

opros() { "$bin" --socket "$socket" "$@"; }
sql() { sqlite3 -cmd '.timeout 5000' "$mailbox" "$1"; }
http() { local path=$1; shift; curl -sS --max-time 20 --unix-socket "$socket" "$@" "http://opros$path"; }
# json TEXT PATH: the sqlite3 shell reads JSON, so nothing else is needed for it.
json() { sqlite3 :memory: <<<"SELECT json_extract('${1//\'/\'\'}', '\$.$2');"; }
job_state() { json "$(http "/v1/jobs/$1")" state; }
row() { sql "SELECT $2 FROM jobs WHERE id = $1"; }
paid() { curl -sS --max-time 5 "http://$vendors/_sim/ledger" | grep -o "\"$1\"" | wc -l | tr -d ' '; }
faults() { curl -sS --max-time 5 -X PUT "http://$vendors/_sim/faults" -d "$1" >/dev/null; }
answers() { http /v1/health -o /dev/null -w '%{http_code}'; }

start() {
    "$bin" serve --config "$dir/opros.toml" >>"$dir/serve.log" 2>&1 &
    serve=$!
    disown
    until_is "$1" 15 200 answers || { cat "$dir/serve.log"; exit 1; }
}
kill_hard() { kill -9 "$serve"; while kill -0 "$serve" 2>/dev/null; do sleep 0.02; done; }

echo "== $($bin --version), in $dir"
"$bin" simulate --listen 127.0.0.1:0 --speed 60 >"$dir/simulate.txt" 2>&1 &
sim=$!
disown
until_is "opros simulate listens" 10 yes sh -c "grep -q '^The ledger' '$dir/simulate.txt' && echo yes"
vendors=$(sed -n 's|^The vendors play at http://\([0-9.:]*\),.*|\1|p' "$dir/simulate.txt")
{
    printf '[store]\npath = "%s/store/opros.db"\nallow_network_fs = true\n' "$dir"
    printf '[mailbox]\npath = "%s"\n[admin]\nsocket = "%s"\n' "$mailbox" "$socket"
    # As the simulator prints it; it calls itself 60x faster, so Tronk is asked every second.
    sed -n '/^\[accounts.tronk\]/,/^$/p' "$dir/simulate.txt"
    printf 'poll = [{ every = "1s", for = "10m" }]\n'
    # Nobody has published what Tronk says to a bad key; this is what the simulator says.
    printf 'pause_on = ["неверный ключ"]\n'
} >"$dir/opros.toml"
sed -i '/^$/d' "$dir/opros.toml"
chmod 600 "$dir/opros.toml"
is "config check finds it sound" "The configuration is sound: tronk" "$("$bin" --config "$dir/opros.toml" config check)"
start "opros serve answers on its socket"

echo "== from the sqlite3 shell"
until_is "the mailbox is there" 5 0 sql "SELECT count(*) FROM jobs"
sql "INSERT INTO jobs (kind, params) VALUES ('tronk.report', '{\"phone\":\"79990000111\"}')"
inserted=$(date +%s%3N)
until_is "a row is taken" 2 1 sql "SELECT count(*) FROM jobs WHERE id = 1 AND state <> 'new'"
echo "      $(($(date +%s%3N) - inserted)) ms after the insert, as the sqlite3 shell sees it"
until_is "its job succeeds" 30 succeeded row 1 state
is "the row has the report's phone in its result" 79990000111 "$(row 1 "json_extract(result, '\$.report.phone')")"
is "events are written, numbered without gaps" "1 job.accepted|2 job.succeeded" \
    "$(sql "SELECT group_concat(seq || ' ' || type, '|') FROM (SELECT * FROM events WHERE job = 1 ORDER BY seq)")"
has "a forged state is refused by the trigger" "opros writes it" \
    "$(sql "INSERT INTO jobs (kind, params, state) VALUES ('tronk.report', '{}', 'succeeded')" 2>&1)"
has "params that are no object are refused by the trigger" "not a JSON object" \
    "$(sql "INSERT INTO jobs (kind, params) VALUES ('tronk.report', '[1]')" 2>&1)"
sql "INSERT INTO jobs (kind, params) VALUES ('tronk.report', '{\"phone\":\"12\"}'), ('nobody.knows', '{}')"
until_is "bad rows end as rejected" 5 2 sql "SELECT count(*) FROM jobs WHERE state = 'rejected' AND job_id IS NULL"
has "the reason names the field" "params.phone" "$(sql "SELECT error FROM jobs WHERE kind = 'tronk.report' AND state = 'rejected'")"
is "nothing was sent for them" 1 "$(paid 79990000111)"

echo "== a lock that another program holds on the mailbox"
sql "INSERT INTO jobs (kind, params) VALUES ('tronk.report', '{\"phone\":\"79990000112\"}')"
sqlite3 -cmd '.timeout 5000' "$mailbox" "BEGIN IMMEDIATE" ".shell touch $dir/locked" ".shell sleep 6" "COMMIT" &
locker=$!
until_is "BEGIN IMMEDIATE is held" 5 yes sh -c "test -e '$dir/locked' && echo yes"
other=$(json "$(http /v1/jobs -d '{"kind":"tronk.report","params":{"phone":"79990000113"}}')" id)
is "a job over the socket succeeds meanwhile" 0 "$(opros wait "$other" --timeout 5s >/dev/null; echo $?)"
until_is "health names the lock" 5 1 sh -c "'$bin' --socket '$socket' health | grep -c 'lock on the mailbox'"
is "the lock was held all the time" "held 1" \
    "$(kill -0 "$locker" 2>/dev/null && echo held) $(sql "SELECT state <> 'succeeded' FROM jobs WHERE params LIKE '%79990000112%'")"
wait "$locker"
locker=''
until_is "the write-back follows" 10 succeeded sql "SELECT state FROM jobs WHERE params LIKE '%79990000112%'"
until_is "health is ready again" 5 ready opros health

echo "== over the socket"
answer=$(http /v1/jobs -d '{"kind":"tronk.report","params":{"phone":"79990000114"},"dedupe_key":"k"}' -w '\n%{http_code}')
is "POST /v1/jobs answers 201" 201 "${answer##*$'\n'}"
is "its dedupe_key answers 200 with the same job" "200 $(json "${answer%$'\n'*}" id)" \
    "$(again=$(http /v1/jobs -d '{"kind":"tronk.report","params":{"phone":"79990000114"},"dedupe_key":"k"}' -w '\n%{http_code}')
       echo "${again##*$'\n'} $(json "${again%$'\n'*}" id)")"
has "a bad param answers with its pointer" '"pointer":"/params/phone"' "$(http /v1/jobs -d '{"kind":"tronk.report","params":{"phone":"1"}}')"
has "the contract is served" '"openapi":"3.1' "$(http /openapi.json)"
has "metrics are served" "# TYPE opros_" "$(http /metrics)"
last=$(json "$(http '/v1/events?after=0&limit=2')" next)
is "events are a page with the number to go on from" 2 "$last"
has "and a stream that goes on from Last-Event-ID" "id: 3" \
    "$(http /v1/events -N -H 'Accept: text/event-stream' -H 'Last-Event-ID: 2' --max-time 2 2>/dev/null)"

echo "== from the command line"
told=$(opros submit tronk.report phone=79990000115)
has "submit says the number" "is queued" "$told"
id=$(sed 's/^Job \([0-9]*\).*/\1/' <<<"$told")
is "wait ends with 0 when the job has succeeded" 0 "$(opros wait "$id" --timeout 60s >/dev/null; echo $?)"
has "show prints the result" '"phone": "79990000115"' "$(opros show "$id")"
has "explain says it is done" "has succeeded" "$(opros explain "$id")"
is "a refused param ends with 5" 5 "$(opros submit tronk.report phone=1 >/dev/null 2>&1; echo $?)"
is "an unknown job ends with 4" 4 "$(opros show 999999 >/dev/null 2>&1; echo $?)"
is "no daemon ends with 3" 3 "$("$bin" --socket "$dir/nobody.sock" jobs >/dev/null 2>&1; echo $?)"
later=$(date -u -d '+1 day' +%FT%TZ)
seq -f '{"kind":"tronk.report","params":{"phone":"7999%07.0f"},"not_before":"'"$later"'","tag":"bulk"}' 1 10000 >"$dir/jobs.ndjson"
has "10,000 lines of a file are taken" "10000 new" "$(opros submit --file "$dir/jobs.ndjson" 2>&1)"

echo "== accounts"
for fault in bad_key access_ended; do
    faults '{"rules":[{"vendor":"tronk","op":"submit","first":1,"then":"'$fault'"}]}'
    id=$(json "$(http /v1/jobs -d '{"kind":"tronk.report","params":{"phone":"79990000121"}}')" id)
    until_is "$fault pauses the account" 10 true sh -c \
        "curl -sS --unix-socket '$socket' http://opros/v1/accounts | grep -q '\"paused\":{' && echo true"
    is "and keeps its job" queued "$(job_state "$id")"
    has "explain says so" "paused" "$(opros explain "$id")"
    opros resume tronk >/dev/null
    is "resume lets it go on" 0 "$(opros wait "$id" --timeout 60s >/dev/null; echo $?)"
done
faults '{"rules":[{"vendor":"tronk","op":"submit","first":1,"then":{"kind":"status","code":429,"retry_after":"2"}}]}'
id=$(json "$(http /v1/jobs -d '{"kind":"tronk.report","params":{"phone":"79990000122"}}')" id)
until_is "429 with Retry-After freezes the account" 5 1 sh -c \
    "curl -sS --unix-socket '$socket' http://opros/v1/accounts | grep -c '\"frozen_until\":\"'"
is "and then the job succeeds" 0 "$(opros wait "$id" --timeout 60s >/dev/null; echo $?)"
is "paid once" 1 "$(paid 79990000122)"

echo "== kill -9"
sql "INSERT INTO jobs (kind, params) VALUES ('tronk.report', '{\"phone\":\"79990000131\"}')"
until_is "a job waits at the vendor" 10 waiting sql "SELECT state FROM jobs WHERE params LIKE '%79990000131%'"
kill_hard
sql "INSERT INTO jobs (kind, params) VALUES ('tronk.report', '{\"phone\":\"79990000132\"}')"
start "it starts again"
until_is "the job that waited succeeds" 30 succeeded sql "SELECT state FROM jobs WHERE params LIKE '%79990000131%'"
is "paid once" 1 "$(paid 79990000131)"
until_is "the row that was inserted meanwhile succeeds" 30 succeeded sql "SELECT state FROM jobs WHERE params LIKE '%79990000132%'"

# The vendor books at once and answers late: killed between the two, nobody knows.
faults '{"rules":[{"vendor":"tronk","op":"submit","then":{"kind":"slow","ms":20000}}]}'
doubtful=()
for n in 1 2 3; do
    doubtful+=("$(json "$(http /v1/jobs -d '{"kind":"tronk.report","params":{"phone":"7999000014'$n'"}}')" id)")
done
until_is "three submits are under way" 10 3 sh -c "curl -sS http://$vendors/_sim/ledger | grep -o '\"7999000014[123]\"' | sort -u | wc -l | tr -d ' '"
kill_hard
faults '{"rules":[]}'
start "it starts again"
is "what was cut off is in doubt" "in_doubt in_doubt in_doubt" "$(for id in "${doubtful[@]}"; do job_state "$id"; done | paste -sd ' ')"
is "wait ends with 13 for it" 13 "$(opros wait "${doubtful[0]}" --timeout 10s >/dev/null 2>&1; echo $?)"
is "retry refuses it" 5 "$(opros retry "${doubtful[0]}" >/dev/null 2>&1; echo $?)"
is "nothing was sent again" "1 1 1" "$(paid 79990000141) $(paid 79990000142) $(paid 79990000143)"
remote=$(curl -sS "http://$vendors/_sim/ledger" | grep -o '{[^{}]*79990000141[^{}]*}' | grep -o '"[a-z_]*id":"\?[0-9]*' | grep -o '[0-9]*$' | head -1)
opros resolve "${doubtful[0]}" --adopt "$remote" >/dev/null
is "--adopt $remote: it is polled to its end" 0 "$(opros wait "${doubtful[0]}" --timeout 60s >/dev/null 2>&1; echo $?)"
opros resolve "${doubtful[1]}" --fail >/dev/null
is "--fail: it has failed" failed "$(job_state "${doubtful[1]}")"
opros resolve "${doubtful[2]}" --resubmit >/dev/null
is "--resubmit: it is ordered again" 0 "$(opros wait "${doubtful[2]}" --timeout 60s >/dev/null 2>&1; echo $?)"
is "paid as often as somebody decided" "1 1 2" "$(paid 79990000141) $(paid 79990000142) $(paid 79990000143)"

echo "== one owner, and a clean end"
second=$("$bin" serve --config "$dir/opros.toml" --socket "$dir/second.sock" 2>&1)
is "a second instance on the same store is refused" 1 $?
has "and says why" "another opros" "$second"
is "mailbox directory and file are for the group" "2770 660" "$(stat -c %a "$dir/mailbox") $(stat -c %a "$mailbox")"
is "store directory and file are private" "700 600" "$(stat -c %a "$dir/store") $(stat -c %a "$dir/store/opros.db")"
kill -TERM "$serve"
until_is "SIGTERM ends it" 15 gone sh -c "kill -0 $serve 2>/dev/null || echo gone"
serve=''
has "and nothing was cut off" "nothing was cut off" "$(tail -2 "$dir/serve.log")"

echo "== $passed ok, $failed FAIL"
[ $failed -eq 0 ] || { echo "-- the last lines of the daemon's log:"; tail -15 "$dir/serve.log"; exit 1; }
