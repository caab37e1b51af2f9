//! `opros doctor` in a directory that somebody else has prepared: he may order, so he may write into the mailbox's directory,
//! and waits for root to look there. Nothing of his is run, nothing is waited for, and no advice leads root astray.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Whatever lies there.
const LONGEST: Duration = Duration::from_secs(20);

/// Every program that something which looks at a machine could think of running.
const PROGRAMS: [&str; 30] = [
    "awk",
    "bash",
    "cat",
    "chgrp",
    "chmod",
    "chown",
    "curl",
    "df",
    "find",
    "fuser",
    "getent",
    "grep",
    "head",
    "id",
    "journalctl",
    "ls",
    "lsof",
    "opros",
    "perl",
    "php",
    "ps",
    "python",
    "python3",
    "sed",
    "sh",
    "sqlite3",
    "stat",
    "sudo",
    "systemctl",
    "uname",
];
const MODULES: [&str; 6] = ["sqlite3.py", "site.py", "sitecustomize.py", "usercustomize.py", "os.py", "encodings.py"];
/// What root must not be told to do to a name that others can exchange.
const OPENING: [&str; 9] = ["chmod", "chgrp", "chown", "setfacl", "install -m", "cp ", "sqlite3 ", "cat ", "chattr"];

struct Trap {
    dir: tempfile::TempDir,
}

impl Trap {
    fn new() -> Trap {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let config = format!(
            "[store]\npath = \"{at}/store/opros.db\"\nallow_network_fs = true\nfree_floor = \"1MiB\"\nballast = \"0\"\n\
             [mailbox]\npath = \"{at}/mailbox/mailbox.db\"\n[admin]\nsocket = \"{at}/mailbox/admin.sock\"\n\
             [accounts.tronk]\nvendor = \"tronk\"\nkey = \"hush-hush-hush\"\nbase_url = \"http://127.0.0.1:9\"\n"
        );
        let trap = Trap { dir };
        fs::write(trap.path("opros.toml"), config).unwrap();
        chmod(&trap.path("opros.toml"), 0o600);
        fs::create_dir(trap.path("store")).unwrap();
        chmod(&trap.path("store"), 0o700);
        fs::create_dir(trap.path("mailbox")).unwrap();
        chmod(&trap.path("mailbox"), 0o2770);
        fs::write(trap.path("private"), "root's own").unwrap();
        chmod(&trap.path("private"), 0o600);
        trap.bait();
        trap
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Whatever is run from there leaves a canary.
    fn bait(&self) {
        let canary = self.path("canary");
        let canary = canary.display();
        for name in PROGRAMS {
            let script = format!("#!/bin/sh\necho {name} \"$@\" >> {canary}\necho 3.99.9\n");
            fs::write(self.path("mailbox").join(name), script).unwrap();
            chmod(&self.path("mailbox").join(name), 0o777);
        }
        for name in MODULES {
            let text = format!("open({:?}, 'a').write('{name}\\n')\nsqlite_version = '3.99.9'\n", self.path("canary"));
            fs::write(self.path("mailbox").join(name), text).unwrap();
        }
        fs::write(self.path("mailbox/.sqliterc"), format!(".shell echo sqliterc >> {canary}\n")).unwrap();
        fs::write(self.path("mailbox/php.ini"), format!("auto_prepend_file={canary}.php\n")).unwrap();
        fs::write(self.path("mailbox/.env"), "OPROS_LOG__FILTER=nonsense=nonsense=nonsense\n").unwrap();
    }

    /// As somebody who stands in that directory, with an environment that points there.
    fn doctor(&self) -> Found {
        self.doctor_in(&self.path("mailbox"))
    }

    fn doctor_in(&self, there: &Path) -> Found {
        let begun = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_opros"))
            .args(["doctor", "--offline", "--json", "--config"])
            .arg(self.path("opros.toml"))
            .current_dir(there)
            .env_clear()
            .envs(
                ["PATH", "PYTHONPATH", "PYTHONHOME", "PHPRC", "PHP_INI_SCAN_DIR", "HOME", "TMPDIR", "SQLITE_TMPDIR"]
                    .map(|name| (name, there)),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let child = std::sync::Arc::new(std::sync::Mutex::new(child));
        let output = within(&child, LONGEST);
        let took = begun.elapsed();
        let ran = fs::read_to_string(self.path("canary")).unwrap_or_default();
        assert_eq!(ran, "", "these were run");
        let text = output.unwrap_or_else(|| panic!("it still runs after {took:?}"));
        assert!(!text.contains("hush-hush"), "{text}");
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let here = self.dir.path().display().to_string();
        let word = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().replace(&here, "DIR");
        let all = lines.map(|finding| ["verdict", "check", "what", "todo"].map(|key| word(&finding, key))).collect();
        Found(all)
    }
}

/// What it said, if it ended in time.
fn within(child: &std::sync::Mutex<std::process::Child>, longest: Duration) -> Option<String> {
    use std::io::Read;
    let mut stdout = child.lock().unwrap().stdout.take().unwrap();
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    let end = Instant::now() + longest;
    while child.lock().unwrap().try_wait().unwrap().is_none() {
        if Instant::now() > end {
            let _ = child.lock().unwrap().kill();
            let _ = child.lock().unwrap().wait();
            return None;
        }
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(10));
    }
    Some(reading.join().unwrap().unwrap())
}

struct Found(Vec<[String; 4]>);

impl Found {
    fn of(&self, part: &str) -> Vec<String> {
        let lines = self.0.iter().map(|finding| finding.join(" | "));
        lines.filter(|line| line.contains(part)).collect()
    }

    /// No command of the advice changes or opens a name in the directory of others.
    fn leads_nobody_astray(&self, what: &str) {
        for [_, _, _, todo] in &self.0 {
            let opens = OPENING.iter().any(|command| todo.contains(command));
            assert!(!(opens && todo.contains("DIR/mailbox/")), "{what}: {todo}");
        }
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn fifo(path: &Path) {
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

fn clear(trap: &Trap) {
    for name in NAMES {
        let path = trap.path("mailbox").join(name);
        let _ = fs::remove_file(&path);
        let _ = fs::remove_dir(&path);
    }
}

const NAMES: [&str; 5] = ["mailbox.db", "mailbox.db-wal", "mailbox.db-shm", "mailbox.db-journal", "admin.sock"];

type Lay = fn(&Trap, &Path);

#[test]
fn nothing_that_lies_in_the_mailboxs_directory_is_run() {
    let trap = Trap::new();
    let found = trap.doctor();
    assert!(found.of("3.99.9").is_empty(), "{:?}", found.of("3.99.9"));
}

#[test]
fn what_is_not_a_regular_file_is_named_and_neither_opened_nor_waited_for_nor_recommended() {
    let trap = Trap::new();
    let table: [(&str, Lay); 7] = [
        ("a symbolic link", |trap, at| symlink(trap.path("private"), at).unwrap()),
        ("a symbolic link", |_, at| symlink("/dev/zero", at).unwrap()),
        ("a symbolic link", |trap, at| symlink(trap.path("nowhere"), at).unwrap()),
        ("a named pipe (FIFO)", |_, at| fifo(at)),
        ("a socket", |_, at| drop(UnixListener::bind(at).unwrap())),
        ("a directory", |_, at| fs::create_dir(at).unwrap()),
        ("hard link", |trap, at| fs::hard_link(trap.path("private"), at).unwrap()),
    ];
    for (words, lay) in table {
        for name in ["mailbox.db", "mailbox.db-wal", "mailbox.db-shm", "mailbox.db-journal"] {
            clear(&trap);
            if name != "mailbox.db" {
                fs::write(trap.path("mailbox/mailbox.db"), "").unwrap();
                chmod(&trap.path("mailbox/mailbox.db"), 0o660);
            }
            lay(&trap, &trap.path("mailbox").join(name));
            let found = trap.doctor();
            let told = found.of(&format!("DIR/mailbox/{name} "));
            assert!(
                told.iter().any(|line| line.starts_with("problem") && line.contains(words)),
                "{name} {words}: {:#?}",
                found.0
            );
            found.leads_nobody_astray(name);
            let private = fs::metadata(trap.path("private")).unwrap().permissions().mode() & 0o777;
            assert_eq!(private, 0o600);
        }
    }
}

/// A credential of the unit is gone while the unit is stopped, and the directories are looked at all the same.
#[test]
fn a_configuration_that_is_wrong_elsewhere_keeps_nobody_from_looking() {
    let trap = Trap::new();
    symlink(trap.path("private"), trap.path("mailbox/mailbox.db")).unwrap();
    let config = fs::read_to_string(trap.path("opros.toml")).unwrap();
    for (old, new) in [
        ("key = \"hush-hush-hush\"\n", ""),
        ("[accounts", "[log]\nfilter = 1\n[accounts"),
        ("[admin]\n", "[admin]\ntoken_file = \"/none\"\n"),
    ] {
        fs::write(trap.path("opros.toml"), config.replace(old, new)).unwrap();
        let found = trap.doctor();
        assert!(!found.of("DIR/mailbox/mailbox.db is a symbolic link").is_empty(), "{new}: {:#?}", found.0);
        assert!(found.of("| config |").iter().any(|line| line.starts_with("problem")), "{new}: {:#?}", found.0);
    }
}

#[test]
fn a_file_with_a_wrong_mode_in_a_directory_of_others_is_told_without_a_command_that_could_be_led_astray() {
    let trap = Trap::new();
    for name in ["mailbox.db", "mailbox.db-wal"] {
        let path = trap.path("mailbox").join(name);
        fs::write(&path, "").unwrap();
        chmod(&path, 0o600);
    }
    let found = trap.doctor();
    assert_eq!(found.of("is not for the group").len(), 2, "{:#?}", found.0);
    found.leads_nobody_astray("mode");
}

#[test]
fn enormous_files_and_hostile_schemas_end_in_time() {
    let trap = Trap::new();
    let mailbox = trap.path("mailbox/mailbox.db");
    let sparse = |name: &str| File::create(trap.path(name)).and_then(|file| file.set_len(1 << 40)).unwrap();
    sparse("mailbox/mailbox.db");
    chmod(&mailbox, 0o660);
    let found = trap.doctor();
    assert!(!found.of("too large").is_empty(), "{:#?}", found.0);
    let hostile = [
        // Evaluated by whoever checks the rows: no end, no room.
        "PRAGMA ignore_check_constraints = ON; \
         CREATE TABLE t (a CHECK (length(replace(hex(zeroblob(30000000)), '0', hex(zeroblob(9)))) > a)); INSERT INTO t VALUES (1)",
        "PRAGMA ignore_check_constraints = ON; PRAGMA user_version = 9999; \
         CREATE TABLE t (a CHECK (length(printf('%.*c', 900000000, 'x')) > a)); INSERT INTO t VALUES (1), (2), (3)",
        "PRAGMA ignore_check_constraints = ON; PRAGMA user_version = 9999; \
         CREATE TABLE t (a CHECK (a LIKE '%a%a%a%a%a%a%a%a%a%a%b')); INSERT INTO t VALUES (printf('%.*c', 3000, 'a'))",
        "CREATE TRIGGER spy AFTER INSERT ON jobs BEGIN SELECT load_extension('x'); END",
        "CREATE VIEW wide AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
    ];
    for then in hostile {
        super::doctor::make(&mailbox, then);
        chmod(&mailbox, 0o660);
        let found = trap.doctor();
        assert!(!found.of("| mailbox |").is_empty(), "{then}: {:#?}", found.0);
        found.leads_nobody_astray(then);
        assert!(!trap.path("mailbox/mailbox.db-shm").exists(), "looking leaves nothing behind");
    }
    clear(&trap);
    super::doctor::make(&mailbox, "");
    chmod(&mailbox, 0o660);
    sparse("mailbox/mailbox.db-wal");
    assert!(!trap.doctor().of("too large").is_empty());
}

#[test]
fn a_socket_that_takes_connections_and_says_nothing_is_not_waited_for() {
    let trap = Trap::new();
    let listener = UnixListener::bind(trap.path("mailbox/admin.sock")).unwrap();
    let found = trap.doctor();
    assert!(found.of("does not answer").iter().any(|line| line.starts_with("problem | daemon")), "{:#?}", found.0);
    drop(listener);
    clear(&trap);
    symlink(trap.path("elsewhere.sock"), trap.path("mailbox/admin.sock")).unwrap();
    let _elsewhere = UnixListener::bind(trap.path("elsewhere.sock")).unwrap();
    let found = trap.doctor();
    assert!(found.of("a symbolic link").iter().any(|line| line.contains("admin.sock")), "{:#?}", found.0);
}

#[test]
fn what_stands_in_the_place_of_a_directory_is_named() {
    let trap = Trap::new();
    for name in ["mailbox", "store"] {
        fs::rename(trap.path(name), trap.path("away")).unwrap();
        let table: [(&str, Lay); 3] = [
            ("a named pipe (FIFO)", |_, at| fifo(at)),
            ("a regular file", |_, at| fs::write(at, "").unwrap()),
            ("a regular file", |trap, at| symlink(trap.path("private"), at).unwrap()),
        ];
        for (words, lay) in table {
            lay(&trap, &trap.path(name));
            let told = trap.doctor_in(trap.dir.path()).of(&format!("DIR/{name} is {words}, not a directory"));
            assert!(told.iter().any(|line| !line.contains("chmod")), "{name} {words}: {told:?}");
            fs::remove_file(trap.path(name)).unwrap();
        }
        fs::rename(trap.path("away"), trap.path(name)).unwrap();
    }
}

#[test]
fn the_stores_own_files_are_looked_at_with_the_same_care() {
    let trap = Trap::new();
    for name in ["opros.db", "opros.db-wal", "opros.lock", "opros.witness"] {
        let path = trap.path("store").join(name);
        fifo(&path);
        let found = trap.doctor();
        let told = found.of(&format!("DIR/store/{name} "));
        assert!(told.iter().any(|line| line.contains("a named pipe (FIFO)")), "{name}: {:#?}", found.0);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn configurations_and_key_files_that_are_no_files_are_named() {
    let trap = Trap::new();
    fifo(&trap.path("pipe"));
    let config = fs::read_to_string(trap.path("opros.toml")).unwrap();
    let with_file =
        config.replace("key = \"hush-hush-hush\"", &format!("key_file = \"{}\"", trap.path("pipe").display()));
    fs::write(trap.path("opros.toml"), with_file).unwrap();
    let found = trap.doctor();
    assert!(!found.of("DIR/pipe is a named pipe (FIFO), not a regular file").is_empty(), "{:#?}", found.0);
    fs::remove_file(trap.path("opros.toml")).unwrap();
    fifo(&trap.path("opros.toml"));
    let found = trap.doctor();
    assert!(!found.of("is a named pipe (FIFO), not a regular file").is_empty(), "{:#?}", found.0);
}

#[test]
fn a_configuration_that_others_can_exchange_is_a_problem() {
    let trap = Trap::new();
    let shared = trap.path("mailbox/opros.toml");
    fs::rename(trap.path("opros.toml"), &shared).unwrap();
    symlink(&shared, trap.path("opros.toml")).unwrap();
    let found = trap.doctor();
    assert!(found.of("can be exchanged").iter().any(|line| line.starts_with("problem | config")), "{:#?}", found.0);
}

fn opros(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_opros"))
        .args(arguments)
        .env_remove("OPROS_CONFIG")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn manual_pages_are_not_written_through_a_link() {
    let trap = Trap::new();
    for name in ["opros.1", "opros.toml.5", "opros-serve.1"] {
        symlink(trap.path("private"), trap.path("mailbox").join(name)).unwrap();
    }
    let made = opros(&["man", "--dir", trap.path("mailbox").to_str().unwrap()]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert_eq!(fs::read_to_string(trap.path("private")).unwrap(), "root's own");
    let page = fs::symlink_metadata(trap.path("mailbox/opros.1")).unwrap();
    assert!(page.is_file() && page.permissions().mode() & 0o777 == 0o644);
}

/// For whoever is not root it is his own affair.
#[test]
fn root_writes_no_keys_where_others_can_exchange_them() {
    let trap = Trap::new();
    let accounts = trap.path("accounts.toml");
    fs::write(&accounts, "[accounts.tronk]\nvendor = \"tronk\"\nkey = \"hush-hush-hush\"\n").unwrap();
    let init = |dir: &Path| {
        opros(&["init", "--no-test", "--dir", dir.to_str().unwrap(), "--accounts", accounts.to_str().unwrap()])
    };
    if rustix::process::geteuid().is_root() {
        let refused = init(&trap.path("mailbox/try"));
        assert_eq!(refused.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&refused.stderr).contains("others may write to"));
        assert!(!trap.path("mailbox/try").exists());
    }
    let place = trap.path("try");
    fs::create_dir(&place).unwrap();
    fs::create_dir(trap.path("theirs")).unwrap();
    symlink(trap.path("theirs"), place.join("secrets")).unwrap();
    let refused = init(&place);
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
    assert_eq!(fs::read_dir(trap.path("theirs")).unwrap().count(), 0);
}
