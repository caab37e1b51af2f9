//! `opros doctor` on directories that a test has made, without the network.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

struct House {
    dir: tempfile::TempDir,
}

impl House {
    /// As packages make it: the store 0700, the mailbox 2770.
    fn new() -> House {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let config = format!(
            "[store]\npath = \"{at}/store/opros.db\"\nallow_network_fs = true\nfree_floor = \"1MiB\"\n\
             [mailbox]\npath = \"{at}/mailbox/mailbox.db\"\n[admin]\nsocket = \"{at}/admin.sock\"\n\
             [accounts.tronk]\nvendor = \"tronk\"\nkey = \"hush-hush-hush\"\nbase_url = \"http://127.0.0.1:9\"\n"
        );
        let house = House { dir };
        house.write("opros.toml", &config, 0o600);
        for (name, mode) in [("store", 0o700), ("mailbox", 0o2770)] {
            fs::create_dir(house.path(name)).unwrap();
            house.chmod(name, mode);
        }
        house
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        fs::write(self.path(name), text).unwrap();
        self.chmod(name, mode);
    }

    fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    /// Exit code, and what was found: `verdict check what`. What is the machine's own is left out.
    fn doctor(&self, more: &[&str]) -> (i32, Vec<String>) {
        let output = Command::new(env!("CARGO_BIN_EXE_opros"))
            .args(["doctor", "--json", "--config"])
            .arg(self.path("opros.toml"))
            .args(more)
            .env_remove("OPROS_CONFIG")
            .env_remove("CREDENTIALS_DIRECTORY")
            .stdin(Stdio::null())
            .output()
            .expect("the binary runs");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains("hush-hush"), "{text}");
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")).filter_map(|finding| {
            let word = |key: &str| {
                finding[key].as_str().unwrap_or_default().replace(&self.dir.path().display().to_string(), "DIR")
            };
            let todo = Some(word("todo")).filter(|todo| !todo.is_empty()).map(|todo| format!(" -> {todo}"));
            let line = format!("{} {} {}{}", word("verdict"), word("check"), word("what"), todo.unwrap_or_default());
            let foreign = ["sqlite", "tls", "clock", "version", "credentials"].contains(&word("check").as_str());
            let varies = line.contains("MiB free") || line.contains("network file system") || line.contains("ballast");
            (!foreign && !varies).then_some(line)
        });
        (output.status.code().unwrap(), lines.collect())
    }
}

#[test]
fn a_sound_house_has_no_problem() {
    let house = House::new();
    let (code, found) = house.doctor(&["--offline"]);
    assert!(found.iter().all(|line| line.starts_with("ok ")), "{found:#?}");
    assert_eq!(code, 0);
    assert!(
        found.contains(&"ok mailbox DIR/mailbox/mailbox.db is not there yet; opros makes it".to_owned()),
        "{found:#?}"
    );
}

#[test]
fn what_is_open_to_others_is_a_problem_with_the_command_that_mends_it() {
    let house = House::new();
    house.chmod("opros.toml", 0o664);
    house.chmod("store", 0o755);
    house.chmod("mailbox", 0o777);
    let (code, found) = house.doctor(&["--offline"]);
    assert_eq!(code, 1);
    for line in [
        "problem config DIR/opros.toml can be changed by others (mode 0664) -> chmod go-w DIR/opros.toml",
        "problem store DIR/store is open to others (mode 0755) -> chmod 0700 DIR/store",
        "problem mailbox DIR/mailbox is open to every user (mode 0777): each may order what is paid for -> chmod 2770 DIR/mailbox",
    ] {
        assert!(found.contains(&line.to_owned()), "{line}\n{found:#?}");
    }
    assert!(
        found.iter().any(|line| line.starts_with("warning config") && line.contains("open to every user")),
        "{found:#?}"
    );
    house.chmod("mailbox", 0o770);
    assert!(house.doctor(&["--offline"]).1.iter().any(|line| line.contains("is not setgid (mode 0770)")));
}

#[test]
fn a_wrong_configuration_is_told_and_the_rest_is_looked_at_all_the_same() {
    let house = House::new();
    house.write("opros.toml", "[log]\nfilters = \"info\"\n", 0o600);
    let (code, found) = house.doctor(&[]);
    assert_eq!(code, 1);
    assert!(
        found[0].starts_with("problem config DIR/opros.toml:2: log.filters: unknown key; did you mean \"filter\"?"),
        "{found:#?}"
    );
    assert!(found.iter().any(|line| line.starts_with("ok daemon none runs")), "{found:#?}");
}

#[test]
fn a_vendor_that_cannot_be_reached_is_a_problem() {
    let house = House::new();
    let (code, found) = house.doctor(&[]);
    assert_eq!(code, 1);
    let line = found.iter().find(|line| line.contains(" account ")).expect("a line");
    assert!(line.starts_with("problem account tronk: the vendor's host cannot be reached: "), "{line}");
}

#[test]
fn a_mailbox_that_was_spoiled_is_found_while_no_daemon_runs() {
    let house = House::new();
    let mailbox = house.path("mailbox/mailbox.db");
    let found = |house: &House| {
        let (_, found) = house.doctor(&["--offline"]);
        found.into_iter().filter(|line| line.contains("mailbox.db")).collect::<Vec<_>>().join("\n")
    };
    house.write("mailbox/mailbox.db", &"no database at all ".repeat(400), 0o660);
    assert!(found(&house).starts_with("problem mailbox DIR/mailbox/mailbox.db is damaged"), "{}", found(&house));
    make(&mailbox, "");
    house.chmod("mailbox/mailbox.db", 0o660);
    assert!(found(&house).contains("is whole, its schema is ours, its journal is WAL"), "{}", found(&house));
    assert!(!house.path("mailbox/mailbox.db-shm").exists(), "looking leaves nothing behind");
    house.chmod("mailbox/mailbox.db", 0o600);
    assert!(found(&house).contains("is not for the group"), "{}", found(&house));
    make(&mailbox, "CREATE TRIGGER spy AFTER INSERT ON jobs BEGIN SELECT 1; END");
    assert!(found(&house).contains("another program hung the trigger \"spy\""), "{}", found(&house));
    make(&mailbox, "DROP INDEX jobs_new");
    assert!(found(&house).contains("the index jobs_new is missing or changed"), "{}", found(&house));
}

/// A mailbox as the daemon makes it, and something done to it.
pub fn make(path: &Path, then: &str) {
    use sqlx::{ConnectOptions, Connection};
    let _ = fs::remove_file(path);
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let mut conn = options.journal_mode(sqlx::sqlite::SqliteJournalMode::Wal).connect().await.unwrap();
        for script in opros::mailbox::sql::MIGRATIONS {
            sqlx::raw_sql(*script).execute(&mut conn).await.unwrap();
        }
        sqlx::raw_sql(opros::mailbox::sql::SET_USER_VERSION).execute(&mut conn).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(then.to_owned())).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
    });
}
