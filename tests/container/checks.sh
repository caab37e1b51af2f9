# Sourced by run: the package, the unit, and who may do what.

packages() {
    echo "== the package"
    local tree=$work/tree
    cp "$1" "$work/root/root/new.deb"
    # The version before: what an upgrade does depends on the scripts and on a new version, not on what the binary does.
    dpkg-deb -R "$1" "$tree"
    sed -i 's/^Version: .*/Version: 0.0.1-1/' "$tree/DEBIAN/control"
    dpkg-deb --root-owner-group -Zgzip -z1 --build "$tree" "$work/root/root/old.deb" >/dev/null
    if command -v lintian >/dev/null; then
        is "lintian finds no error and no warning" "" "$(lintian --allow-root --fail-on none "$1" 2>/dev/null | grep -E '^[EW]:' | grep -v "no-manual-page")"
    else
        note "lintian is not here"
    fi
}

installs() {
    echo "== a first installation"
    inside dpkg -i /root/old.deb >"$work/dpkg.log" 2>&1
    is "dpkg installs it on a minimal Debian" 0 $?
    has "it says what to do next" "not started" "$(cat "$work/dpkg.log")"
    is "it starts nothing" inactive "$(is_active)"
    is "it has the user and the group" "opros opros" "$(inside id -un opros 2>&1) $(inside id -gn opros 2>&1)"
    is "directories and the configuration have their modes" \
        "750 opros opros, 700 opros opros, 2770 opros opros, 600 opros opros, 700 root root" \
        "$(inside stat -c '%a %U %G' /var/lib/opros /var/lib/opros/store /var/lib/opros/mailbox /etc/opros/opros.toml /etc/opros/credentials | paste -sd, | sed 's/,/, /g')"
    is "systemd-analyze verify has nothing to say" "" "$(inside systemd-analyze verify --man=no opros.service opros.socket 2>&1)"
    local score
    score=$(inside systemd-analyze security --no-pager --threshold=11 opros.service)
    is "its exposure is 1.1 at most" 0 $?
    note "$(tail -n 1 <<<"$score")"
    local pages
    pages=$(inside sh -c 'ls /usr/share/man/man1/opros*.1.gz /usr/share/man/man5/opros*.5.gz 2>/dev/null' | wc -l)
    note "$pages manual pages"
    local page
    for page in $(inside sed -n 's/^Documentation=.*file:\/\/\([^ ]*\).*/\1/p' /usr/lib/systemd/system/opros.service /usr/lib/systemd/system/opros.socket | sort -u); do
        is "the page that the units name is there: $page" yes "$(inside test -e "$page" && echo yes)"
    done
    is "the configuration is a short file beside the reference" "yes yes" \
        "$(inside sh -c '[ $(wc -l < /etc/opros/opros.toml) -le 15 ] && echo yes') $(inside test -e /usr/share/opros/opros.toml && echo yes)"
}

starts_fresh() {
    echo "== as it was installed"
    inside systemctl start opros.service
    is "it starts with nothing configured" active "$(is_active)"
    # Nothing else can be asked of a daemon that does not start.
    [ "$failed" = 0 ] || exit 1
    inside systemctl stop opros.service
    printf '[accounts.tronk]\nvendor = "nobody"\n' | put /etc/opros/opros.toml 600
    inside chown opros:opros /etc/opros/opros.toml
    inside systemctl start opros.service >/dev/null 2>&1
    is "a wrong configuration ends it with 78" 78 "$(property ExecMainStatus)"
    sleep 4
    is "and systemd does not try again" "failed 0" "$(is_active) $(property NRestarts)"
    inside systemctl reset-failed opros.service
}

# Vendors that play in the same container, as a unit of their own; one account whose key is a credential.
configures() {
    echo "== configured"
    inside useradd --system --groups opros shop
    inside useradd --system stranger
    inside systemd-run -q --unit=opros-vendors -p Restart=no /usr/bin/opros simulate --listen 127.0.0.1:8099 --speed 60
    until_is "the vendors play" 15 200 vendor ledger -o /dev/null -w '%{http_code}'
    local key
    key=$(inside journalctl --no-pager -o cat -u opros-vendors | sed -n '/accounts.tronk/,/^key/s/^key = "\(.*\)"/\1/p')
    printf '%s\n' "$key" | put /etc/opros/credentials/tronk.key 600
    cat <<-TOML | put /etc/opros/opros.toml 600
		[accounts.tronk]
		vendor = "tronk"
		base_url = "$vendors/tronk"
		timeout = "20s"
		limits = { max_in_flight = 8 }
		poll = [{ every = "500ms", for = "10m" }]
	TOML
    inside chown opros:opros /etc/opros/opros.toml
    inside install -D -m 0644 /usr/share/doc/opros/examples/credentials.conf /etc/systemd/system/opros.service.d/credentials.conf
    inside systemctl daemon-reload
    inside systemctl start opros.service
    is "it starts, with its key as a credential" active "$(is_active)"
    until_is "opros health, as a member of the group" 10 ready as shop opros health
    local pid rss
    pid=$(property MainPID)
    rss=$(inside sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status")
    note "READY=1 after $((($(property ActiveEnterTimestampMonotonic) - $(property InactiveExitTimestampMonotonic)) / 1000)) ms, RSS at idle $((rss / 1024)) MiB"
    is "no capability, no new privileges, a seccomp filter" "0000000000000000 0000000000000000 1 2" \
        "$(inside sed -n 's/^\(CapEff\|CapBnd\|NoNewPrivs\|Seccomp\):[^0-9]*//p' "/proc/$pid/status" | paste -sd' ')"
}

paused_in_status() { property StatusText | grep -o '; paused.*'; }

serves_the_group_alone() {
    echo "== who may order"
    order 79990000101 >/dev/null
    until_is "a row of another program's user becomes a report" 30 succeeded state_of 79990000101
    is "which was paid for once" 1 "$(paid 79990000101)"
    until_is "systemctl status says how much there is to do" 15 "0 queued, 0 waiting, 0 in doubt, 0 calls under way" property StatusText
    local refused uid
    refused=$(as stranger opros health 2>&1)
    is "a user outside the group is refused by the socket" 3 $?
    note "$(head -n 1 <<<"$refused")"
    refused=$(as stranger sqlite3 $mailbox "SELECT count(*) FROM jobs" 2>&1)
    has "and by the mailbox" "unable to open database file" "$refused"
    refused=$(as shop sqlite3 /var/lib/opros/store/opros.db "SELECT count(*) FROM jobs" 2>&1)
    has "nobody but the daemon gets at the store" "unable to open database file" "$refused"
    as shop opros pause tronk >/dev/null
    until_is "the status line names a paused account" 15 "; paused: tronk" paused_in_status
    as shop opros resume tronk >/dev/null
    uid=$(inside id -u shop)
    has "the log names the uid that paused it" "uid=$uid" "$(journal | grep 'paused an account')"
    is "the journal finds a job's lines by its number and account" 1 \
        "$(inside journalctl --no-pager -o cat -u opros.service JOB_ID=1 ACCOUNT=tronk | grep -c 'the job has ended')"
    as shop opros log set info,opros::engine=debug --for 1h >/dev/null
    has "the level of a module changes while it runs" "opros::engine=debug" "$(as shop opros log)"
    as shop opros log reset >/dev/null
    has "opros doctor finds no problem" "no problem" "$(inside opros doctor --offline 2>&1)"
}

# Whoever may order may write into the mailbox's directory, and waits there for root to look.
baits_root() {
    echo "== opros doctor where somebody has laid baits"
    local dir=/var/lib/opros/mailbox said code bait words modes
    inside systemctl stop opros.service
    cat <<-'SH' | put /root/bait 755
		#!/bin/sh
		cd /var/lib/opros/mailbox || exit 1
		for name in awk bash cat chgrp chmod df find fuser getent grep head id journalctl ls lsof perl php ps python python3 sed sh sqlite3 stat sudo systemctl uname; do
		    printf '#!/bin/sh\necho %s >> /var/lib/opros/mailbox/ran\necho 3.99.9\n' "$name" > "$name"; /bin/chmod 777 "$name"
		done
		for name in sqlite3 site sitecustomize usercustomize os encodings; do
		    printf 'open("/var/lib/opros/mailbox/ran", "a").write("%s")\nsqlite_version = "3.99.9"\n' "$name" > "$name.py"
		done
		echo '.shell echo sqliterc >> /var/lib/opros/mailbox/ran' > .sqliterc
		for file in mailbox.db*; do /bin/mv "$file" "kept.$file"; done
	SH
    inside cp /root/bait /usr/local/bin/bait
    as shop /usr/local/bin/bait
    # In the very directory, with an environment that leads there.
    looks() {
        inside sh -c "cd $dir && PATH=$dir:/usr/bin:/bin PYTHONPATH=$dir PYTHONHOME=$dir PHPRC=$dir HOME=$dir TMPDIR=$dir SQLITE_TMPDIR=$dir \
            /usr/bin/timeout -s KILL 20 /usr/bin/opros doctor --offline 2>&1"
    }
    modes=$(inside stat -c '%n %a %U %G' /etc/shadow /etc/opros/opros.toml /root/bait)
    while IFS='|' read -r bait words; do
        inside sh -c "cd $dir && $(case $bait in mknod*) echo ;; *) echo 'runuser -u shop --' ;; esac) $bait" >/dev/null 2>&1 ||
            { note "cannot be laid here: $bait"; continue; }
        said=$(looks)
        code=$?
        case $code in 0 | 1) ok "it ends: $bait" ;; *) fail "it does not end in 20 s (code $code): $bait" "$said" ;; esac
        has "and names it" "$words" "$said"
        if grep -E '(chmod|chgrp|chown|setfacl|sqlite3|cat|cp) [^,;]*'"$dir/" <<<"$said"; then
            fail "its advice opens a name that others can exchange: $bait" "$said"
        fi
        inside rm -rf $dir/mailbox.db $dir/mailbox.db-wal
    done <<-TABLE
		ln -s /etc/shadow mailbox.db|a symbolic link
		ln -s /etc/opros/opros.toml mailbox.db|a symbolic link
		ln -s /dev/zero mailbox.db|a symbolic link
		ln /usr/local/bin/bait mailbox.db|hard link
		mkfifo mailbox.db|a named pipe (FIFO)
		mkfifo mailbox.db-wal|a named pipe (FIFO)
		mkdir mailbox.db|a directory
		mknod mailbox.db c 1 5|a device
		truncate -s 1T mailbox.db|too large
		sqlite3 mailbox.db 'PRAGMA ignore_check_constraints = ON; PRAGMA user_version = 9999; CREATE TABLE t (a CHECK (a LIKE "%a%a%a%a%a%a%a%a%a%a%b")); INSERT INTO t VALUES (printf("%.*c", 3000, "a"))'|mailbox.db
	TABLE
    is "nothing of theirs was run" no "$(inside test -e $dir/ran && echo yes || echo no)"
    is "nothing was opened to anybody" "$modes" "$(inside stat -c '%n %a %U %G' /etc/shadow /etc/opros/opros.toml /root/bait)"
    inside sh -c "cd $dir && find . -mindepth 1 ! -name 'kept.*' -delete; for file in kept.*; do mv \"\$file\" \"\${file#kept.}\"; done; rm /usr/local/bin/bait"
    inside systemctl start opros.service
    until_is "the daemon goes on with its mailbox" 20 ready health
    is "and with what was ordered" succeeded "$(state_of 79990000101)"
}

reloads() {
    echo "== reload"
    local pid
    pid=$(property MainPID)
    inside sed -i 's/max_in_flight = 8/max_in_flight = 6/' /etc/opros/opros.toml
    inside systemctl reload opros.service
    is "systemctl reload takes a new limit" 0 $?
    has "which it names" "accounts.tronk changed: limits" "$(journal 20)"
    inside cp -p /etc/opros/opros.toml /root/right.toml
    inside sh -c 'echo "nonsense = 1" >> /etc/opros/opros.toml'
    inside systemctl reload opros.service 2>/dev/null
    is "with a wrong file systemctl reload fails" 1 $?
    inside cp -p /root/right.toml /etc/opros/opros.toml
    is "and the daemon goes on" "$pid active" "$(property MainPID) $(is_active)"
}

# What the sandbox forbids, beside what the same user may do in a bare unit.
is_sandboxed() {
    echo "== forbidden acts"
    install -m 0755 $here/forbidden.pl "$work/root/usr/bin/opros-forbidden"
    local unit=/etc/systemd/system
    # The unit itself, with the probe in the daemon's place; it and perl are the two more programs that may be executed.
    sed -e 's,^ExecStart=.*,ExecStart=/usr/bin/opros-forbidden,' -e '/^ExecReload=/d' -e 's/^Type=.*/Type=oneshot/' -e '/^Restart=/d' -e '/^Watchdog/d' \
        -e 's,^ExecPaths=.*,& +/usr/bin/opros-forbidden +/usr/bin/perl,' "$work/root/usr/lib/systemd/system/opros.service" |
        put $unit/opros-forbidden.service 644
    printf '[Service]\nType=oneshot\nUser=opros\nGroup=opros\nExecStart=/usr/bin/opros-forbidden\n' | put $unit/opros-bare.service 644
    # Things that are there to be found: a neighbour's open file, a directory with a home's mode.
    inside sh -c 'mkdir -p /srv/neighbour /home/neighbour && echo x > /srv/neighbour/open && echo x > /home/neighbour/open && chmod -R a+rX /srv /home'
    inside systemctl daemon-reload
    inside systemctl start opros-forbidden.service opros-bare.service
    local said in_unit in_bare act got
    said() { inside journalctl --no-pager -o cat -u "$1" | grep '^act ' | sed 's/^act //'; }
    in_unit=$(said opros-forbidden.service)
    in_bare=$(said opros-bare.service)
    printf '      %-42s %-46s %s\n' "act" "in opros.service" "in a bare unit"
    local allowed=0 wrong=0 acts=0
    while IFS='|' read -r act got bare; do
        printf '      %-42s %-46s %s\n' "$act" "$got" "$bare"
        acts=$((acts + 1))
        case $got in denied*) ;; *) wrong=$((wrong + 1)) ;; esac
        case $bare in allowed*) allowed=$((allowed + 1)) ;; esac
    done < <(paste -d'|' <(echo "$in_unit") <(echo "$in_bare" | cut -d'|' -f 2))
    if [ "$acts" -ge 15 ] && [ "$wrong" = 0 ]; then ok "all $acts are denied"; else fail "$wrong of $acts acts are not denied"; fi
    if [ "$allowed" -ge 6 ]; then ok "$allowed of them are allowed in a bare unit: the sandbox did it"; else fail "the control allows only $allowed"; fi
}
