# Sourced by run: ends of every kind, and what is left after them.

drains() {
    echo "== stop with a submit under way"
    faults '{"vendor":"tronk","op":"setqueue","first":1,"then":{"kind":"slow","ms":6000}}'
    order 79990000201 >/dev/null
    until_is "the vendor has booked it, and has not answered" 10 1 paid 79990000201
    local begun
    begun=$(ms)
    inside systemctl stop opros.service
    begun=$(($(ms) - begun))
    if [ $begun -ge 2000 ] && [ $begun -lt 15000 ]; then ok "systemctl stop waits for the answer"; else fail "systemctl stop took $begun ms"; fi
    note "$begun ms; its longest call is 20 s, TimeoutStopSec is $(property TimeoutStopUSec)"
    is "and it ends well" success "$(property Result)"
    faults ''
    inside systemctl start opros.service
    until_is "the next start goes on with it" 30 succeeded state_of 79990000201
    is "it was paid for once" 1 "$(paid 79990000201)"
    begun=$(ms)
    inside systemctl restart opros.service
    note "an idle restart takes $(($(ms) - begun)) ms"
}

survives_kills() {
    echo "== kill -9 with orders under way"
    local phones phone states restarts n
    phones=$(seq 79990000301 79990000330)
    faults '{"vendor":"tronk","op":"setqueue","then":{"kind":"slow","ms":700}}'
    for phone in $phones; do
        printf "INSERT INTO jobs (kind, params) VALUES ('tronk.report', '{\"phone\":\"%s\"}');\n" "$phone"
    done | as shop sqlite3 -cmd '.timeout 5000' $mailbox
    for n in 1 2; do
        restarts=$(property NRestarts)
        until_is "orders are on their way" 15 1 count "(SELECT count(*) FROM jobs WHERE state = 'submitting') > 1 AND id = 1"
        kill -9 "$(outer_pid)"
        until_is "systemd has started it again" 20 "$((restarts + 1)) active" stands
    done
    faults ''
    until_is "every row comes to an end, or is in doubt" 60 30 count "json_extract(params, '\$.phone') LIKE '799900003%' AND state IN ('succeeded', 'in_doubt')"
    states=$(sql "SELECT group_concat(state || ' ' || n, ', ') FROM (SELECT state, count(*) AS n FROM jobs WHERE json_extract(params, '\$.phone') LIKE '799900003%' GROUP BY state)")
    note "$states; paid: $(ledger_lines | sort -u | grep -c 799900003)"
    is "nothing was paid for twice, by the vendor's own ledger" "" "$(ledger_lines | uniq -d)"
    is "each order that was cut off is in doubt, with its reason on the row" 0 \
        "$(count "state = 'in_doubt' AND (error IS NULL OR error = '')")"
}

# The daemon's number as this machine sees it: the container's processes are its own, too.
outer_pid() {
    local pid inner
    inner=$(property MainPID)
    for pid in $(cat "/proc/$leader"/task/*/children); do
        [ "$(awk '/^NSpid:/ { print $NF }' "/proc/$pid/status" 2>/dev/null)" = "$inner" ] && { echo "$pid"; return; }
    done
}

is_watched() {
    echo "== the watchdog"
    printf '[Service]\nWatchdogSec=3s\nEnvironment=OPROS_LOG__FORMAT=journald\n' | put /etc/systemd/system/opros.service.d/quick.conf 644
    inside systemctl daemon-reload
    inside systemctl restart opros.service
    local pid restarts begun
    pid=$(property MainPID) restarts=$(property NRestarts)
    has "its log reaches the journal by the journal's own protocol, too" "opros::lifecycle" \
        "$(inside journalctl --no-pager -o verbose -u opros -n 20 | grep '^ *TARGET=' | tail -n 1)"
    sleep 8
    is "an idle daemon is fed" "$pid $restarts active" "$(property MainPID) $(property NRestarts) $(is_active)"
    begun=$(ms)
    kill -STOP "$(outer_pid)"
    until_is "one that hangs is killed and started again" 30 "$((restarts + 1)) active" stands
    note "after $(($(ms) - begun)) ms, WatchdogSec=3s and RestartSec=3s"
    has "the journal says so" "Watchdog timeout" "$(journal)"
    until_is "it serves again" 10 ready health
    faults '{"vendor":"tronk","op":"setqueue","first":1,"then":{"kind":"slow","ms":9000}}'
    order 79990000401 >/dev/null
    until_is "a call is under way that takes longer than the watchdog" 10 1 paid 79990000401
    inside systemctl stop opros.service
    is "a drain is not taken for a hang" success "$(property Result)"
    faults ''
    inside rm /etc/systemd/system/opros.service.d/quick.conf
    inside systemctl daemon-reload
    inside systemctl start opros.service
    until_is "and its order is carried on" 30 succeeded state_of 79990000401
}

is_activated_by_its_socket() {
    echo "== socket activation"
    inside systemctl stop opros.service
    inside systemctl start opros.socket
    is "systemd listens" "active inactive" "$(is_active opros.socket) $(is_active)"
    is "with the socket's owner and mode" "660 opros opros" "$(inside stat -c '%a %U %G' /run/opros/admin.sock)"
    has "the first client starts the daemon" "tronk" "$(as shop opros accounts 2>&1)"
    is "which is active" active "$(is_active)"
    has "the log still names the caller's uid" "uid=$(inside id -u shop)" \
        "$(as shop opros pause tronk >/dev/null; as shop opros resume tronk >/dev/null; journal 3)"
    local inode
    inode=$(inside stat -c %i /run/opros/admin.sock)
    inside systemctl restart opros.service
    is "a restart leaves the socket where it is" "$inode" "$(inside stat -c %i /run/opros/admin.sock)"
    as stranger opros health >/dev/null 2>&1
    is "a user outside the group is refused there, too" 3 $?
    inside systemctl stop opros.socket opros.service
    printf '[Socket]\nListenStream=\nListenStream=127.0.0.1:8055\n' | put /etc/systemd/system/opros.socket.d/wrong.conf 644
    inside systemctl daemon-reload
    inside systemctl start opros.socket
    inside systemctl start opros.service 2>/dev/null
    is "what is no Unix socket is refused as a wrong configuration" "78 failed" "$(property ExecMainStatus) $(is_active)"
    has "in plain words" "one listening Unix stream socket" "$(journal 8)"
    inside systemctl stop opros.socket
    inside rm -r /etc/systemd/system/opros.socket.d
    inside systemctl daemon-reload
    inside systemctl reset-failed opros.service
    inside systemctl start opros.service
    is "without the socket unit the daemon makes its own again" active "$(is_active)"
}

upgrades() {
    echo "== upgrade with a job under way"
    local pid before
    # 90 s of the vendor's time are 1.5 s; its answers are held back so that the job waits across the upgrade.
    faults '{"vendor":"tronk","op":"poll","then":{"kind":"status","code":502}}'
    order 79990000501 >/dev/null
    until_is "a job waits" 10 waiting state_of 79990000501
    pid=$(property MainPID) before=$(inside sha256sum /etc/opros/opros.toml)
    inside dpkg -i /root/new.deb >"$work/dpkg.log" 2>&1
    is "dpkg upgrades" 0 $?
    if [ "$(property MainPID)" != "$pid" ]; then ok "a daemon that ran was restarted"; else fail "the old daemon still runs"; fi
    is "and is up" active "$(is_active)"
    is "the changed configuration is left alone" "$before" "$(inside sha256sum /etc/opros/opros.toml)"
    faults ''
    until_is "the job is carried to its end" 60 succeeded state_of 79990000501
    is "and was paid for once" 1 "$(paid 79990000501)"
}

reboots() {
    echo "== reboot"
    inside systemctl -q enable opros.service 2>/dev/null
    if power_off && boot; then ok "the machine goes down and comes up"; else fail "the container does not come up again"; return; fi
    until_is "opros is up with it" 20 active is_active
    until_is "and serves the group" 10 ready health
    is "with everything that was there" succeeded "$(state_of 79990000501)"
}

leaves_what_was_paid_for() {
    echo "== remove and purge"
    local rows
    rows=$(sql "SELECT count(*) FROM jobs")
    inside dpkg -r opros >/dev/null 2>&1
    is "remove stops the daemon and takes the program" "inactive no" "$(is_active) $(inside test -e /usr/bin/opros && echo yes || echo no)"
    is "and leaves data and configuration" "$rows yes" "$(sql "SELECT count(*) FROM jobs") $(inside test -e /etc/opros/opros.toml && echo yes || echo no)"
    inside dpkg -i /root/new.deb >/dev/null 2>&1
    inside systemctl start opros.service
    is "installed again, it goes on with them" "active succeeded" "$(is_active) $(state_of 79990000501)"
    has "purge says that it keeps the data" "is kept" "$(inside dpkg -P opros 2>&1)"
    is "and takes the configuration" "no yes" "$(inside test -e /etc/opros && echo yes || echo no) $(inside test -e /var/lib/opros/store/opros.db && echo yes || echo no)"
    inside dpkg -i /root/new.deb >/dev/null 2>&1
    inside env OPROS_PURGE_DATA=yes dpkg -P opros >/dev/null 2>&1
    is "OPROS_PURGE_DATA=yes takes the data, too" no "$(inside test -e /var/lib/opros && echo yes || echo no)"
}
