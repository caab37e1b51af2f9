//! Every way in which a store can come to a path: who may open it, and whether it is believed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use opros::domain::state::Input;
use opros::store::Store;
use opros::store::sqlite::restore::{moved, restore};
use opros::store::sqlite::{OpenError, SqliteStore};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use super::{clock, id, new_job, one, start, submit};

/// What a second opening comes to.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Another opros has the file.
    Refused,
    /// It is another store, or it is gone.
    Lost,
    /// It may be a copy: nothing is sent before what it holds is in doubt.
    Distrusted,
    Believed,
}
use Verdict::{Believed, Distrusted, Lost, Refused};

/// A served store with a queued job and one that was sent; a copy of its files from before that, made at rest, and a backup.
struct Place {
    dir: tempfile::TempDir,
    running: Option<SqliteStore>,
}

impl Place {
    async fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b", "older"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let place = Place { dir, running: None };
        let store = place.open("a").await.unwrap();
        let jobs = store.accept(vec![new_job(), new_job()], start()).await.unwrap();
        store.backup(&place.path("backup.db")).await.unwrap();
        store.close().await;
        place.copy_all("a", "older");
        let store = place.open("a").await.unwrap();
        assert_eq!(store.restored().await.unwrap(), None, "it lies where it was");
        one(&store, id(jobs[1]), submit("t")).await.unwrap();
        Place { running: Some(store), ..place }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn open(&self, directory: &str) -> Result<SqliteStore, OpenError> {
        SqliteStore::open(&self.path(directory).join("opros.db"), true, clock()).await
    }

    async fn stop(&mut self) {
        self.running.take().expect("it runs").close().await;
    }

    /// By the names that a shell's `*` gives.
    fn copy_all(&self, from: &str, to: &str) {
        for entry in fs::read_dir(self.path(from)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), self.path(to).join(entry.file_name())).unwrap();
        }
    }

    fn copy(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    async fn verdict(&self, directory: &str) -> Verdict {
        match self.open(directory).await {
            Ok(store) => {
                let restored = store.restored().await.unwrap();
                let unsent = restored.as_ref().map(|restored| restored.unsent.len());
                let is_told = store.warnings().iter().any(|warning| warning.code == "store_copied");
                assert_eq!(restored.is_some(), is_told, "health says so: {:?}", store.warnings());
                assert_ne!(unsent, Some(1), "nothing is proven unsent");
                store.close().await;
                if restored.is_some() { Distrusted } else { Believed }
            }
            Err(OpenError::Lost { .. }) => Lost,
            Err(error) if error.to_string().contains("another opros runs") => Refused,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn vacuum_into(from: &Path, to: &Path) {
    let mut conn = SqliteConnectOptions::new().filename(from).connect().await.unwrap();
    sqlx::query("VACUUM INTO $1").bind(to.to_str().unwrap()).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

type Way = (&'static str, Verdict, fn(&mut Place));

/// While the first one runs on.
#[tokio::test]
async fn one_file_has_one_owner_and_a_copy_of_a_running_store_is_not_believed() {
    let ways: &[Way] = &[
        ("hard link", Refused, |p| fs::hard_link(p.path("a/opros.db"), p.path("b/opros.db")).unwrap()),
        ("hard links of everything", Refused, |p| {
            for entry in fs::read_dir(p.path("a")).unwrap() {
                let entry = entry.unwrap();
                fs::hard_link(entry.path(), p.path("b").join(entry.file_name())).unwrap();
            }
        }),
        ("symbolic link", Refused, |p| symlink(p.path("a/opros.db"), p.path("b/opros.db")).unwrap()),
        ("symbolic link to a symbolic link", Refused, |p| {
            symlink(p.path("a/opros.db"), p.path("link")).unwrap();
            symlink(p.path("link"), p.path("b/opros.db")).unwrap();
        }),
        ("linked directory", Refused, |p| {
            fs::remove_dir(p.path("b")).unwrap();
            symlink(p.path("a"), p.path("b")).unwrap();
        }),
        ("renamed under the owner", Refused, |p| p.rename("a/opros.db", "b/opros.db")),
        ("copy", Distrusted, |p| p.copy("a/opros.db", "b/opros.db")),
        ("copy with its witness", Distrusted, |p| {
            p.copy("a/opros.db", "b/opros.db");
            p.copy("a/opros.witness", "b/opros.witness");
        }),
        ("copy of everything", Distrusted, |p| p.copy_all("a", "b")),
        ("backup in place by hand", Distrusted, |p| p.copy("backup.db", "b/opros.db")),
        ("backup with the newest witness", Distrusted, |p| {
            p.copy("backup.db", "b/opros.db");
            p.copy("a/opros.witness", "b/opros.witness");
        }),
    ];
    for (way, expected, arrive) in ways {
        let mut place = Place::new().await;
        arrive(&mut place);
        assert_eq!(place.verdict("b").await, *expected, "{way}");
        // The first one has not lost anything by it.
        let first = place.running.as_ref().unwrap();
        if *way != "renamed under the owner" {
            assert!(first.accept(vec![new_job()], start()).await.is_ok(), "{way}: the owner works on");
        }
    }
}

/// After it has ended.
#[tokio::test]
async fn a_store_at_rest_is_believed_where_it_is_the_very_file_and_its_witness_agrees() {
    let ways: &[Way] = &[
        ("left alone", Believed, |p| p.rename("a", "c")),
        ("everything moved into another directory", Believed, |p| {
            fs::create_dir(p.path("c")).unwrap();
            for name in ["opros.db", "opros.witness"] {
                p.rename(&format!("a/{name}"), &format!("c/{name}"));
            }
        }),
        ("moved without its witness", Distrusted, |p| {
            fs::create_dir(p.path("c")).unwrap();
            p.rename("a/opros.db", "c/opros.db");
        }),
        ("copied as a whole, with its times", Distrusted, |p| {
            fs::create_dir(p.path("c")).unwrap();
            p.copy_all("a", "c");
            let times = fs::metadata(p.path("a/opros.db")).unwrap();
            let times =
                fs::FileTimes::new().set_modified(times.modified().unwrap()).set_accessed(times.accessed().unwrap());
            let copy = fs::File::options().write(true).open(p.path("c/opros.db")).unwrap();
            copy.set_times(times).unwrap();
        }),
        ("its witness deleted", Distrusted, |p| {
            fs::remove_file(p.path("a/opros.witness")).unwrap();
            p.rename("a", "c");
        }),
        ("its witness emptied", Distrusted, |p| {
            fs::write(p.path("a/opros.witness"), "").unwrap();
            p.rename("a", "c");
        }),
        ("its witness overwritten", Distrusted, |p| {
            fs::write(p.path("a/opros.witness"), [0x5a; 1024]).unwrap();
            p.rename("a", "c");
        }),
        ("an older witness", Believed, |p| {
            p.copy("older/opros.witness", "a/opros.witness");
            p.rename("a", "c");
        }),
        ("an older copy with its witness", Distrusted, |p| p.rename("older", "c")),
        ("an older copy beside the newest witness", Distrusted, |p| {
            fs::remove_file(p.path("a/opros.db")).unwrap();
            p.copy("older/opros.db", "a/opros.db");
            p.rename("a", "c");
        }),
        ("an older copy written over it in place", Distrusted, |p| {
            p.copy("older/opros.db", "a/opros.db");
            p.rename("a", "c");
        }),
        ("an older copy and its witness written over both in place", Distrusted, |p| {
            p.copy("older/opros.db", "a/opros.db");
            p.copy("older/opros.witness", "a/opros.witness");
            p.rename("a", "c");
        }),
        ("a backup written over it in place, its witness gone", Distrusted, |p| {
            p.copy("backup.db", "a/opros.db");
            fs::remove_file(p.path("a/opros.witness")).unwrap();
            p.rename("a", "c");
        }),
        ("a backup written over it in place, with an old witness", Distrusted, |p| {
            p.copy("backup.db", "a/opros.db");
            p.copy("older/opros.witness", "a/opros.witness");
            p.rename("a", "c");
        }),
        ("a backup alone", Distrusted, |p| {
            fs::create_dir(p.path("c")).unwrap();
            p.copy("backup.db", "c/opros.db");
        }),
        ("gone, its witness there", Lost, |p| {
            fs::remove_file(p.path("a/opros.db")).unwrap();
            p.rename("a", "c");
        }),
    ];
    for (way, expected, arrive) in ways {
        let mut place = Place::new().await;
        place.stop().await;
        arrive(&mut place);
        assert_eq!(place.verdict("c").await, *expected, "{way}");
        if *expected == Distrusted {
            // What it holds is settled; from then on it is a store like any other, but it is told until the next start.
            let store = place.open("c").await.unwrap();
            store.settle_restored().await.unwrap();
            store.close().await;
            assert_eq!(place.verdict("c").await, Believed, "{way}, later");
        }
    }
}

#[tokio::test]
async fn what_sqlite_copies_is_not_believed_either() {
    let mut place = Place::new().await;
    place.stop().await;
    vacuum_into(&place.path("a/opros.db"), &place.path("b/opros.db")).await;
    place.copy("a/opros.witness", "b/opros.witness");
    assert_eq!(place.verdict("b").await, Distrusted);
}

/// The operator's word is for an honest move, and for nothing else.
#[tokio::test]
async fn a_store_that_was_moved_as_a_whole_goes_on_by_the_operators_word() {
    let mut place = Place::new().await;
    let running = moved(&place.path("a/opros.db"), true).await.unwrap_err();
    assert!(running.to_string().contains("another opros runs"), "{running}");
    place.stop().await;
    place.copy_all("a", "b");
    moved(&place.path("b/opros.db"), true).await.unwrap();
    assert_eq!(place.verdict("b").await, Believed);
    assert_eq!(place.verdict("b").await, Believed);
    // The word was for that file: a copy of it is a copy again.
    fs::create_dir(place.path("c")).unwrap();
    place.copy_all("b", "c");
    assert_eq!(place.verdict("c").await, Distrusted);

    for (what, prepare) in [
        ("missing or unreadable", (|p| fs::remove_file(p.path("d/opros.witness")).unwrap()) as fn(&Place)),
        ("older copy", |p| p.copy("older/opros.db", "d/opros.db")),
        ("backup", |p| {
            p.copy("backup.db", "d/opros.db");
            p.copy("older/opros.witness", "d/opros.witness");
            fs::remove_file(p.path("d/opros.lock")).unwrap();
        }),
        ("no such file", |p| fs::remove_file(p.path("d/opros.db")).unwrap()),
    ] {
        let _ = fs::remove_dir_all(place.path("d"));
        fs::create_dir(place.path("d")).unwrap();
        place.copy_all("a", "d");
        prepare(&place);
        let refused = moved(&place.path("d/opros.db"), true).await.expect_err(what);
        assert!(refused.to_string().contains(what), "{what}: {refused}");
    }
}

#[tokio::test]
async fn a_restore_holds_the_file_and_leaves_a_store_that_knows_where_it_lies() {
    let mut place = Place::new().await;
    fs::hard_link(place.path("a/opros.db"), place.path("b/opros.db")).unwrap();
    let held = restore(&place.path("backup.db"), &place.path("b/opros.db"), true, start()).await.unwrap_err();
    assert!(held.to_string().contains("another opros runs"), "{held}");
    fs::remove_file(place.path("b/opros.db")).unwrap();
    place.stop().await;
    let report = restore(&place.path("backup.db"), &place.path("a/opros.db"), true, start()).await.unwrap();
    assert_eq!((report.queued, report.unsent), (2, 1), "one was sent since");
    let store = place.open("a").await.unwrap();
    let restored = store.restored().await.unwrap().expect("it is to be settled");
    assert_eq!(restored.unsent.len(), 1, "what the newer store proved unsent is known");
    store.settle_restored().await.unwrap();
    store.close().await;
    assert_eq!(place.verdict("a").await, Believed);
    // To a machine where there was none.
    fs::create_dir(place.path("new")).unwrap();
    restore(&place.path("backup.db"), &place.path("new/opros.db"), true, start()).await.unwrap();
    let store = place.open("new").await.unwrap();
    assert!(store.restored().await.unwrap().expect("to be settled").unsent.is_empty());
    let last = store.accept(vec![new_job()], start()).await.unwrap();
    assert!((1_000_000..2_000_000).contains(&id(last[0]).0), "numbers are raised once: {last:?}");
    store.close().await;
}

/// A FIFO is waited for by whoever opens it; the lock must not be held meanwhile, and nobody may wait.
#[tokio::test]
async fn what_is_no_regular_file_is_refused_at_once() {
    use opros::store::sqlite::witness;
    let mut place = Place::new().await;
    place.stop().await;
    let fifo = |name: &str| {
        let status = std::process::Command::new("mkfifo").arg(place.path(name)).status().unwrap();
        assert!(status.success());
        place.path(name)
    };
    let store = place.path("a/opros.db");
    symlink(place.path("backup.db"), place.path("link.db")).unwrap();
    let odd =
        [fifo("fifo.db"), place.path("b"), place.path("link.db"), PathBuf::from("/dev/null"), place.path("none.db")];
    for backup in odd {
        let refused = restore(&backup, &store, true, start()).await.expect_err("refused");
        assert!(refused.to_string().contains("cannot be read as a backup"), "{}: {refused}", backup.display());
    }
    assert_eq!(place.verdict("a").await, Believed, "nothing was touched");
    fs::create_dir(place.path("c")).unwrap();
    fifo("c/opros.db");
    assert!(place.open("c").await.unwrap_err().to_string().contains("not a regular file"));
    assert!(restore(&place.path("backup.db"), &place.path("c/opros.db"), true, start()).await.is_err());
    fs::create_dir(place.path("d")).unwrap();
    fifo("d/opros.witness");
    assert!(place.open("d").await.unwrap_err().to_string().contains("not a regular file"));
    assert_eq!(witness::seen(&place.path("d/opros.db")), None);
    fs::create_dir(place.path("e")).unwrap();
    fifo("e/opros.lock");
    assert!(place.open("e").await.unwrap_err().to_string().contains("not a regular file"));
}

/// A crash right after the first start leaves nothing that could be sent twice: no number jumps for it.
#[tokio::test]
async fn a_store_to_which_nothing_happened_is_believed_without_its_witness() {
    let dir = tempfile::tempdir().unwrap();
    super::open(&dir).await.close().await;
    fs::remove_file(dir.path().join("opros.witness")).unwrap();
    let store = super::open(&dir).await;
    assert_eq!(store.restored().await.unwrap(), None);
    let job = id(store.accept(vec![new_job()], start()).await.unwrap()[0]);
    assert_eq!(job.0, 1);
    one(&store, job, Input::Cancel).await.unwrap();
}
