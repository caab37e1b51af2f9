//! Whatever SQLite's own means may do to the file, done by other programs that keep their connections open: nothing that was
//! acknowledged is lost, nobody sees a broken file, and no log that somebody uses is taken away.
//!
//! The other programs are processes of their own: locks and files that are open are not shared with the daemon's.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use opros::mailbox::trouble::{DAMAGED, REPLACED};
use opros::store::Store;
use sqlx::Connection;

use super::house::{House, until};

const MARKER: &str = "--done--";

/// A sqlite3 shell that keeps its connection.
#[derive(Debug)]
struct Shell {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Shell {
    /// None where there is no sqlite3.
    fn open(path: &Path) -> Option<Shell> {
        let mut command = Command::new("sh");
        command.args(["-c", "exec sqlite3 -batch \"$DB\" 2>&1"]).env("DB", path);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut shell = Shell { child, stdin, stdout };
        if Command::new("sqlite3").arg("--version").output().is_err() {
            eprintln!("no sqlite3 shell here");
            return None;
        }
        shell.run(".timeout 5000").unwrap();
        Some(shell)
    }

    /// What it printed; an error as its own words.
    fn run(&mut self, sql: &str) -> Result<String, String> {
        writeln!(self.stdin, "{sql}\n.print {MARKER}").map_err(|error| error.to_string())?;
        let mut said = String::new();
        loop {
            let mut line = String::new();
            let read = self.stdout.read_line(&mut line).map_err(|error| error.to_string())?;
            if read == 0 {
                return Err(format!("the shell ended: {said}"));
            }
            if line.trim() == MARKER {
                break;
            }
            said.push_str(&line);
        }
        if said.to_lowercase().contains("error") { Err(said) } else { Ok(said.trim().to_owned()) }
    }

    /// The same beside the runtime: stopped in the middle of a transaction, the mailbox's task would keep the shell out for good.
    async fn beside(mut self, sql: impl Into<String>) -> (Shell, Result<String, String>) {
        let sql = sql.into();
        tokio::task::spawn_blocking(move || {
            let said = self.run(&sql);
            (self, said)
        })
        .await
        .unwrap()
    }

    /// Inserts an order; the insert is acknowledged when this returns.
    fn order(&mut self, uid: &str) {
        self.run(&insert(uid)).unwrap();
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = writeln!(self.stdin, ".quit");
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn insert(uid: &str) -> String {
    let params = r#"{"phone":"79990000111"}"#;
    format!("INSERT INTO jobs (uid, kind, params) VALUES ('{uid}', 'tronk.report', '{params}');")
}

const BULK: &str = "CREATE TABLE IF NOT EXISTS bulk (what BLOB); \
    INSERT INTO bulk SELECT randomblob(4000) FROM (VALUES (1),(2),(3),(4),(5)) AS a, (VALUES (1),(2),(3),(4),(5)) AS b;";

async fn are_taken(house: &House, uids: impl IntoIterator<Item = String>) {
    let uids: Vec<String> = uids.into_iter().collect();
    until("each acknowledged row is taken", async || {
        let known = house.store.mailbox_rows(&uids).await.unwrap();
        known.values().filter(|row| row.job.is_some()).count() == uids.len()
    })
    .await;
    let jobs: i64 = house.store.counts().await.unwrap().iter().map(|count| count.jobs).sum();
    assert_eq!(jobs, uids.len() as i64, "each is taken once");
}

/// Taken, and written back.
async fn are_shown(house: &House, uids: &[&str]) {
    are_taken(house, uids.iter().map(|uid| (*uid).to_owned())).await;
    const NEW: &str = "SELECT count(*) FROM jobs WHERE state = 'new'";
    let mut conn = house.foreign().await;
    until("each is written back", async || sqlx::query_scalar::<_, i64>(NEW).fetch_one(&mut conn).await.unwrap() == 0)
        .await;
    conn.close().await.unwrap();
}

fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|meta| meta.ino())
}

fn beside(house: &House, suffix: &str) -> PathBuf {
    house.path().with_extension(suffix)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_shorter_after_a_vacuum_is_the_same_file_and_its_log_stays() {
    let house = House::new().await;
    let Some(mut shell) = Shell::open(&house.path()) else { return };
    let mut uids = Vec::new();
    shell.order("before");
    uids.push("before".to_owned());
    let log = inode(&beside(&house, "db-wal"));
    for round in 0..6 {
        shell.run(BULK).unwrap();
        are_taken(&house, uids.clone()).await;
        let length = || fs::metadata(house.path()).unwrap().len();
        until("what was written is in the file itself", async || {
            shell.run("PRAGMA wal_checkpoint(PASSIVE);").unwrap();
            length() > 150_000
        })
        .await;
        shell.run("DELETE FROM bulk; VACUUM; PRAGMA wal_checkpoint(PASSIVE);").unwrap();
        // Orders go on while the daemon wonders what happened.
        for n in 0..5 {
            let uid = format!("{round}-{n}");
            shell.order(&uid);
            uids.push(uid);
        }
        until("the file got shorter", async || {
            shell.run("PRAGMA wal_checkpoint(PASSIVE);").unwrap();
            length() < 150_000
        })
        .await;
        are_taken(&house, uids.clone()).await;
        assert_eq!(shell.run("PRAGMA integrity_check;").unwrap(), "ok");
        assert_eq!(inode(&beside(&house, "db-wal")), log, "the log in use stays where it is");
    }
    assert!(house.causes.get(REPLACED).is_none() && house.causes.get(DAMAGED).is_none());
}

/// A program that keeps a file that was moved away goes on with it; the new one has nothing of the old one's log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_a_file_that_was_moved_away_stays_with_whoever_has_it_open() {
    let house = House::new().await;
    let Some(mut keeper) = Shell::open(&house.path()) else { return };
    keeper.order("first");
    are_taken(&house, ["first".to_owned()]).await;
    // Its read transaction keeps the log from being emptied.
    keeper.run("BEGIN; SELECT count(*) FROM jobs;").unwrap();
    let moved = house.dir.path().join("mailbox").join("moved.db");
    fs::rename(house.path(), &moved).unwrap();
    until("a new file is made", async || fs::metadata(house.path()).is_ok_and(|meta| meta.len() > 0)).await;
    keeper.run("COMMIT;").unwrap();
    until("the new file takes orders", async || {
        let Some(mut other) = Shell::open(&house.path()) else { return true };
        other.run(&insert("second")).is_ok()
    })
    .await;
    are_taken(&house, ["first".to_owned(), "second".to_owned()]).await;
    for n in 0..5 {
        keeper.run(&insert(&format!("to the old one {n}"))).unwrap();
    }
    assert_eq!(keeper.run("PRAGMA integrity_check;").unwrap(), "ok");
    let mut other = Shell::open(&house.path()).unwrap();
    other.order("third");
    are_taken(&house, ["first", "second", "third"].map(str::to_owned)).await;
    assert_eq!(other.run("PRAGMA integrity_check;").unwrap(), "ok");
    assert!(house.causes.get(DAMAGED).is_none());
}

/// Past its own length nothing grows here: the log of the old file began anew before, and so it does under the new file.
#[tokio::test]
async fn the_log_of_a_file_that_was_put_in_place_is_not_taken_from_a_program_that_has_it_open_already() {
    let house = House::new().await;
    let Some(mut keeper) = Shell::open(&house.path()) else { return };
    let mut reader = Shell::open(&house.path()).unwrap();
    let look = "BEGIN; SELECT count(*) FROM jobs;";
    // A reader keeps the log from being emptied.
    reader.run(look).unwrap();
    keeper.run(BULK).unwrap();
    keeper.order("first");
    are_shown(&house, &["first"]).await;
    reader.run("COMMIT;").unwrap();
    keeper.run(&format!("PRAGMA wal_checkpoint(PASSIVE); {}", insert("second"))).unwrap();
    reader.run(look).unwrap();
    are_shown(&house, &["first", "second"]).await;
    let copy = house.dir.path().join("mailbox").join("copy.db");
    keeper.run(&format!("VACUUM INTO '{}';", copy.display())).unwrap();
    // From here on this test does not wait, and the daemon's task stands still.
    reader.run("COMMIT;").unwrap();
    keeper.run("PRAGMA wal_checkpoint(PASSIVE);").unwrap();
    drop((keeper, reader));
    fs::rename(&copy, house.path()).unwrap();
    let mut early = Shell::open(&house.path()).unwrap();
    early.order("third");
    are_taken(&house, ["first", "second", "third"].map(str::to_owned)).await;
    let (early, said) = early.beside(insert("fourth")).await;
    said.unwrap();
    are_taken(&house, ["first", "second", "third", "fourth"].map(str::to_owned)).await;
    assert_eq!(early.beside("PRAGMA integrity_check;").await.1.unwrap(), "ok");
}

#[tokio::test]
async fn a_row_that_came_past_a_removed_shm_is_taken() {
    let house = House::new().await;
    let Some(mut shell) = Shell::open(&house.path()) else { return };
    shell.order("first");
    drop(shell);
    are_taken(&house, ["first".to_owned()]).await;
    until("the log is emptied", async || fs::metadata(beside(&house, "db-wal")).is_ok_and(|log| log.len() == 0)).await;
    // All of this before the daemon looks.
    fs::remove_file(beside(&house, "db-shm")).unwrap();
    let inserted = Command::new("sqlite3").arg(house.path()).arg(insert("second")).status().unwrap();
    assert!(inserted.success());
    are_taken(&house, ["first", "second"].map(str::to_owned)).await;
    let shell = Shell::open(&house.path()).unwrap();
    let (shell, said) = shell.beside(insert("third")).await;
    said.unwrap();
    are_taken(&house, ["first", "second", "third"].map(str::to_owned)).await;
    assert_eq!(shell.beside("PRAGMA integrity_check;").await.1.unwrap(), "ok");
}

/// Small, and the same everywhere: a failed run can be run again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// What a program may do beside inserting. `{side}` is a file of its own.
const MEANS: &[&str] = &[
    BULK,
    "DELETE FROM bulk;",
    "DELETE FROM bulk; VACUUM;",
    "DELETE FROM jobs WHERE state <> 'new' AND id % 3 = 0; VACUUM;",
    "VACUUM; PRAGMA wal_checkpoint(PASSIVE);",
    "PRAGMA wal_checkpoint(PASSIVE);",
    "PRAGMA wal_checkpoint(FULL);",
    "PRAGMA wal_checkpoint(RESTART);",
    "PRAGMA wal_checkpoint(TRUNCATE);",
    "PRAGMA auto_vacuum = INCREMENTAL; VACUUM;",
    "DELETE FROM bulk; PRAGMA incremental_vacuum(20);",
    "PRAGMA page_size = 8192; VACUUM;",
    "PRAGMA journal_mode = DELETE;",
    "PRAGMA journal_mode = WAL;",
    "PRAGMA locking_mode = EXCLUSIVE; SELECT count(*) FROM jobs;",
    "REINDEX;",
    "ANALYZE; PRAGMA optimize;",
    "BEGIN; SELECT count(*) FROM jobs;",
    "BEGIN IMMEDIATE; DELETE FROM bulk; ROLLBACK;",
    "ATTACH '{side}' AS side; CREATE TABLE IF NOT EXISTS side.seen (id); BEGIN; INSERT INTO side.seen SELECT id FROM jobs; \
     DELETE FROM bulk; COMMIT; DETACH side;",
    ".backup '{side}-backup'",
    "VACUUM INTO '{side}-into';",
    "PRAGMA integrity_check;",
    "PRAGMA user_version; PRAGMA application_id = 7;",
];

/// One program's life: what was acknowledged to it, or the first words that no program should read.
fn live(path: &Path, side: &Path, name: u64, seed: u64, steps: usize) -> Result<BTreeSet<String>, String> {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut shell = Shell::open(path).ok_or("no shell")?;
    let mut acknowledged = BTreeSet::new();
    for step in 0..steps {
        let uid = format!("{name}-{step}");
        let (sql, uids) = match dice.roll(20) {
            0..=8 => (insert(&uid), vec![uid]),
            9 => {
                let uids: Vec<String> = (0..4).map(|n| format!("{uid}-{n}")).collect();
                let inserts: String = uids.iter().map(|uid| insert(uid)).collect();
                (format!("BEGIN IMMEDIATE; {inserts} COMMIT;"), uids)
            }
            10 => {
                drop(shell);
                shell = Shell::open(path).ok_or("no shell")?;
                continue;
            }
            // What takes most: the file grows, and gets shorter in one of several ways.
            11..=12 => (format!("{BULK} PRAGMA wal_checkpoint(PASSIVE);"), Vec::new()),
            13 => ("DELETE FROM bulk; VACUUM; PRAGMA wal_checkpoint(PASSIVE);".to_owned(), Vec::new()),
            14 => ("DELETE FROM bulk; VACUUM;".to_owned(), Vec::new()),
            15 => ("PRAGMA wal_checkpoint(PASSIVE);".to_owned(), Vec::new()),
            _ => {
                let side = side.display().to_string();
                for suffix in ["", "-backup", "-into"] {
                    let _ = fs::remove_file(format!("{side}{suffix}"));
                }
                (MEANS[dice.roll(MEANS.len() as u64) as usize].replace("{side}", &side), Vec::new())
            }
        };
        match shell.run(&sql) {
            Ok(said) if sql.contains("integrity_check") && said != "ok" => return Err(format!("{sql}: {said}")),
            Ok(_) => acknowledged.extend(uids),
            Err(said) => {
                let is_meant = ["locked", "no such table: bulk", "within a transaction", "cannot change", "busy"];
                if !is_meant.iter().any(|words| said.contains(words)) {
                    return Err(format!("{sql}: {said}"));
                }
            }
        }
        // What was left open by some of the means. A mode that was not come by would be waited for at each turn.
        let _ = shell.run("PRAGMA locking_mode = NORMAL;");
        let _ = shell.run(if dice.roll(3) > 0 { "COMMIT;" } else { "ROLLBACK;" });
        let _ = shell.run("DETACH side;");
    }
    Ok(acknowledged)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_programs_do_to_the_file_with_sqlite_each_acknowledged_row_is_taken_once() {
    let seeds: Vec<u64> = match std::env::var("OWN_MEANS_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => vec![1, 2, 3],
    };
    for seed in seeds {
        let house = House::new().await;
        if Shell::open(&house.path()).is_none() {
            return;
        }
        let programs: Vec<_> = (0..3_u64)
            .map(|name| {
                let (path, side) = (house.path(), house.dir.path().join(format!("side-{name}")));
                tokio::task::spawn_blocking(move || live(&path, &side, name, seed * 100 + name, 80))
            })
            .collect();
        let mut uids = BTreeSet::new();
        for program in programs {
            uids.extend(program.await.unwrap().unwrap_or_else(|words| panic!("seed {seed}: {words}")));
        }
        assert!(uids.len() > 30, "seed {seed}: only {} rows", uids.len());
        are_taken(&house, uids).await;
        assert!(house.causes.get(DAMAGED).is_none(), "seed {seed}: {:?}", house.causes.get(DAMAGED));
        let mut shell = Shell::open(&house.path()).unwrap();
        assert_eq!(shell.run("PRAGMA integrity_check;").unwrap(), "ok", "seed {seed}");
    }
}
