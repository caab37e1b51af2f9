//! What can be wrong around the daemon, one thing at a time: how soon health names it, and how soon all goes on when it is
//! over. Nobody touches the daemon meanwhile but where the vendor's answer needs an operator's word.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use opros::simulator::{Fault, FaultPlan, FaultRule};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor, SqliteConnection};
use tokio::task::JoinSet;

use crate::script;
use crate::world::{Failure, World, nap, terminate};

/// The promise: a cause is named within this.
const NAMED_WITHIN: Duration = Duration::from_secs(10);
const GOES_ON_WITHIN: Duration = Duration::from_secs(60);
/// A small disk; the floor and the ballast of the worlds are smaller still.
const DISK: &str = "size=16m,mode=0700";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    DiskFull,
    DiskFullThenLarger,
    StoreLocked,
    MailboxLocked,
    MailboxDeleted,
    MailboxOlder,
    MailboxOverwritten,
    MailboxTrigger,
    VendorSilent,
    VendorRefusesKey,
    VendorWantsSilence,
    AnswerLost,
}

/// What is wrong, in words, and the cause that health is to name.
const CASES: [(Wrong, &str, &str); 12] = [
    (Wrong::DiskFull, "the store's disk is full to the last byte", "disk_low"),
    (Wrong::DiskFullThenLarger, "the store's disk is full, and then made larger", "disk_low"),
    (Wrong::StoreLocked, "another program holds a lock on the store", "store_blocked"),
    (Wrong::MailboxLocked, "another program holds a lock on the mailbox", "mailbox_locked"),
    (Wrong::MailboxDeleted, "the mailbox is deleted", "mailbox_replaced"),
    (Wrong::MailboxOlder, "an older copy of the mailbox is put back", "mailbox_replaced"),
    (Wrong::MailboxOverwritten, "the mailbox is overwritten", "mailbox_damaged"),
    (Wrong::MailboxTrigger, "a trigger is planted in the mailbox", "mailbox_schema"),
    (Wrong::VendorSilent, "a vendor cuts every connection", "account_unreachable:tronk"),
    (Wrong::VendorRefusesKey, "a vendor refuses the key", "account_paused:tronk"),
    (Wrong::VendorWantsSilence, "a vendor asks for silence (429)", "account_frozen:tronk"),
    (Wrong::AnswerLost, "the answer to a paid request is lost", "jobs_in_doubt"),
];

/// How one case went; a word instead where this machine cannot play it.
#[derive(Debug)]
struct Row {
    what: &'static str,
    code: &'static str,
    named: Option<Duration>,
    goes_on: Option<Duration>,
    wrong: Option<String>,
    skipped: Option<String>,
}

impl Row {
    fn holds(&self) -> bool {
        self.skipped.is_some() || (self.wrong.is_none() && self.named.is_some() && self.goes_on.is_some())
    }

    fn print(&self) {
        let seconds =
            |time: Option<Duration>| time.map_or("never".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()));
        let Row { what, code, named, goes_on, wrong, skipped } = self;
        if let Some(why) = skipped {
            println!("  {what:<48} skipped: {why}");
            return;
        }
        let verdict = if self.holds() { "ok" } else { "BROKEN" };
        let wrong = wrong.as_deref().unwrap_or_default();
        println!("  {what:<48} {code:<26} {:>8} {:>8}  {verdict} {wrong}", seconds(*named), seconds(*goes_on));
    }

    fn json(&self) -> Value {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        json!({
            "what": self.what, "cause": self.code, "named_after_s": seconds(self.named), "goes_on_after_s": seconds(self.goes_on),
            "wrong": self.wrong, "skipped": self.skipped, "holds": self.holds(),
        })
    }
}

pub async fn all(binary: &Path, board: Option<&Path>) -> Result<bool, Failure> {
    println!("  {:<48} {:<26} {:>8} {:>8}", "what is wrong", "the cause that health names", "after", "goes on");
    let mut playing = JoinSet::new();
    for (wrong, what, code) in CASES {
        let binary = binary.to_owned();
        playing.spawn(async move { case(&binary, wrong, what, code).await });
    }
    let mut rows = Vec::new();
    while let Some(row) = playing.join_next().await {
        rows.push(row??);
    }
    rows.sort_by_key(|row| CASES.iter().position(|(_, what, _)| *what == row.what));
    rows.iter().for_each(Row::print);
    if let Some(path) = board {
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        std::fs::write(path, serde_json::to_string_pretty(&rows)?)?;
    }
    Ok(rows.iter().all(Row::holds))
}

/// A small disk for the store, which goes with the world.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(at: PathBuf) -> Result<SmallDisk, Failure> {
        std::fs::create_dir_all(&at)?;
        mount(&["-t", "tmpfs", "-o", DISK, "tmpfs"], &at)?;
        Ok(SmallDisk(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

fn mount(words: &[&str], at: &Path) -> Result<(), Failure> {
    let output = Command::new("mount").args(words).arg(at).output()?;
    let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("a tmpfs cannot be mounted (root is needed): {told}").into())
    }
}

async fn case(binary: &Path, wrong: Wrong, what: &'static str, code: &'static str) -> Result<Row, Failure> {
    let mut row = Row { what, code, named: None, goes_on: None, wrong: None, skipped: None };
    let mut world = World::new(1, FaultPlan::default(), None).await?;
    world.release(binary);
    let _disk = if matches!(wrong, Wrong::DiskFull | Wrong::DiskFullThenLarger) {
        match SmallDisk::new(world.data().join("store")) {
            Ok(disk) => Some(disk),
            Err(error) => {
                row.skipped = Some(error.to_string());
                return Ok(row);
            }
        }
    } else {
        None
    };
    let mut child = world.command(&[])?.spawn()?;
    let mut scene = Scene { world, number: 0, held: None };
    scene.goes_on().await.map_err(|what| format!("before anything was wrong: {what}"))?;
    scene.strike(wrong).await?;
    row.named = scene.named(code).await;
    scene.lift(wrong).await?;
    let lifted = Instant::now();
    match scene.goes_on().await {
        Ok(()) => row.goes_on = Some(lifted.elapsed()),
        Err(what) => row.wrong = Some(what),
    }
    if let Ok(Some(end)) = child.try_wait() {
        row.wrong = Some(format!("the daemon ended: {end}"));
    }
    if let Some(key) = scene.paid_twice() {
        row.wrong = Some(format!("paid twice: {key}"));
    }
    terminate(&child);
    let _ = tokio::time::timeout(Duration::from_secs(20), child.wait()).await;
    Ok(row)
}

struct Scene {
    world: World,
    /// Of the last order: each has a phone of its own.
    number: u64,
    /// A lock on a database.
    held: Option<SqliteConnection>,
}

impl Scene {
    fn order(&mut self) -> Value {
        self.number += 1;
        json!({ "phone": format!("7999000{:04}", self.number) })
    }

    async fn post(&mut self) -> Option<i64> {
        let order = json!({ "kind": "tronk.report", "params": self.order() });
        let answer = self.world.client().ok()?.post(&["v1", "jobs"], &order).await.ok()?;
        answer.read::<Value>().ok()?["id"].as_i64()
    }

    async fn insert(&mut self) -> Option<i64> {
        let params = self.order().to_string();
        let mut mailbox = open(&self.world.mailbox()).await.ok()?;
        let query = sqlx::query("INSERT INTO jobs (kind, params) VALUES ('tronk.report', $1)").bind(params);
        let row = query.execute(&mut mailbox).await.ok()?.last_insert_rowid();
        mailbox.close().await.ok()?;
        Some(row)
    }

    /// An order by each door is carried to its end.
    async fn goes_on(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        let (mut posted, mut inserted) = (None, None);
        while begun.elapsed() < GOES_ON_WITHIN {
            nap(20).await;
            if posted.is_none() {
                posted = self.post().await;
                continue;
            }
            if inserted.is_none() {
                inserted = self.insert().await;
                continue;
            }
            if self.posted_done(posted).await && self.inserted_done(inserted).await {
                return Ok(());
            }
        }
        let (post, row) = (self.posted_done(posted).await, self.inserted_done(inserted).await);
        Err(format!("after {GOES_ON_WITHIN:?}: the order of the socket has ended: {post}, that of the mailbox: {row}"))
    }

    async fn posted_done(&self, id: Option<i64>) -> bool {
        let (Some(id), Ok(client)) = (id, self.world.client()) else { return false };
        let Ok(answer) = client.get(&["v1", "jobs", &id.to_string()], &[]).await else { return false };
        answer.read::<Value>().is_ok_and(|job| job["state"] == "succeeded")
    }

    async fn inserted_done(&self, row: Option<i64>) -> bool {
        let Ok(mut mailbox) = open(&self.world.mailbox()).await else { return false };
        let query = sqlx::query_scalar("SELECT state = 'succeeded' FROM jobs WHERE id = $1").bind(row);
        let done = query.fetch_optional(&mut mailbox).await.ok().flatten().unwrap_or(false);
        let _ = mailbox.close().await;
        done
    }

    /// When health names the cause; none if it does not in time.
    async fn named(&self, code: &str) -> Option<Duration> {
        let begun = Instant::now();
        while begun.elapsed() < NAMED_WITHIN {
            if self.causes().await.contains(code) {
                return Some(begun.elapsed());
            }
            nap(25).await;
        }
        None
    }

    async fn causes(&self) -> BTreeSet<String> {
        let Ok(client) = self.world.client() else { return BTreeSet::new() };
        // 503 with causes is an answer, too.
        let Ok(answer) = client.get_any(&["v1", "health"]).await else { return BTreeSet::new() };
        let health: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let causes = health["causes"].as_array().cloned().unwrap_or_default();
        causes.iter().filter_map(|cause| Some(cause["code"].as_str()?.to_owned())).collect()
    }

    fn paid_twice(&self) -> Option<String> {
        let mut keys = BTreeSet::new();
        self.world.sim.ledger().into_iter().map(|booking| booking.key).find(|key| !keys.insert(key.clone()))
    }

    fn vendor(&self, op: &str, fault: Fault) -> Result<(), Failure> {
        let rule = FaultRule::on("tronk", op, fault);
        self.world.sim.control().set_faults(FaultPlan::one(rule)).map_err(|error| format!("{error:?}").into())
    }

    async fn strike(&mut self, wrong: Wrong) -> Result<(), Failure> {
        let (store, mailbox) = (self.world.data().join("store/opros.db"), self.world.mailbox());
        match wrong {
            Wrong::DiskFull | Wrong::DiskFullThenLarger => fill(&self.world.data().join("store/fill"))?,
            Wrong::StoreLocked => self.lock(&store).await?,
            Wrong::MailboxLocked => self.lock(&mailbox).await?,
            Wrong::MailboxDeleted => remove(&mailbox),
            Wrong::MailboxOlder => {
                let older = self.world.path("older.db");
                let mut copied = open(&mailbox).await?;
                copied.execute(sqlx::AssertSqlSafe(format!("VACUUM INTO '{}'", older.display()))).await?;
                copied.close().await?;
                self.goes_on().await?;
                remove(&mailbox);
                std::fs::rename(older, &mailbox)?;
            }
            Wrong::MailboxOverwritten => overwrite(&mailbox)?,
            Wrong::MailboxTrigger => {
                let mut conn = open(&mailbox).await?;
                conn.execute("CREATE TRIGGER planted AFTER UPDATE ON jobs BEGIN DELETE FROM events; END").await?;
                conn.close().await?;
            }
            Wrong::VendorSilent => self.vendor("poll", Fault::DropBefore {})?,
            Wrong::VendorRefusesKey => self.vendor("submit", Fault::BadKey {})?,
            Wrong::VendorWantsSilence => {
                let (code, retry_after) = (429, Some("3".to_owned()));
                let fault = Fault::Status { code, body: String::new(), content_type: None, retry_after, book: false };
                self.vendor("submit", fault)?;
            }
            Wrong::AnswerLost => self.vendor("submit", Fault::DropAfter {})?,
        }
        // Somebody orders meanwhile; nothing is to come of it that money could be lost by.
        if !matches!(wrong, Wrong::DiskFull | Wrong::DiskFullThenLarger) {
            // A locked store does not answer; that it was asked is enough.
            let _ = tokio::time::timeout(Duration::from_millis(500), self.post()).await;
        }
        Ok(())
    }

    async fn lift(&mut self, wrong: Wrong) -> Result<(), Failure> {
        match wrong {
            Wrong::DiskFull => std::fs::remove_file(self.world.data().join("store/fill"))?,
            Wrong::DiskFullThenLarger => mount(&["-o", "remount,size=64m"], &self.world.data().join("store"))?,
            Wrong::MailboxTrigger => {
                let mut conn = open(&self.world.mailbox()).await?;
                conn.execute("DROP TRIGGER planted").await?;
                conn.close().await?;
            }
            Wrong::VendorRefusesKey => {
                self.world.sim.control().clear_faults();
                let resumed = self.world.client()?.post(&["v1", "accounts", "tronk", "resume"], &json!({})).await;
                resumed.map_err(|failure| format!("{failure:?}"))?;
            }
            _ => self.world.sim.control().clear_faults(),
        }
        if let Some(mut held) = self.held.take() {
            held.execute("ROLLBACK").await?;
            held.close().await?;
        }
        Ok(())
    }

    async fn lock(&mut self, file: &Path) -> Result<(), Failure> {
        let mut conn = open(file).await?;
        conn.execute("BEGIN IMMEDIATE").await?;
        self.held = Some(conn);
        Ok(())
    }
}

async fn open(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new().filename(path).busy_timeout(script::TIMEOUT).connect().await
}

fn fill(file: &Path) -> Result<(), Failure> {
    use std::io::Write;
    let (mut file, block) = (std::fs::File::create(file)?, [0_u8; 4096]);
    while file.write_all(&block).is_ok() {}
    Ok(())
}

fn remove(database: &Path) {
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", database.display()));
    }
}

/// The first eight pages, header and all.
fn overwrite(database: &Path) -> Result<(), Failure> {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().write(true).open(database)?;
    file.write_all(&[0x5a; 8 * 4096])?;
    Ok(())
}
