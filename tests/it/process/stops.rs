//! A stop that is asked for while the store does not answer.

use std::process::Stdio;

use opros::simulator::Fault;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Executor, SqliteConnection};

use super::{World, until};

impl World {
    /// Another program that locks the store for as long as this is kept.
    async fn lock_the_store(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.dir.path().join("store/opros.db"));
        let mut other = options.busy_timeout(super::PATIENCE).connect().await.unwrap();
        other.execute("BEGIN IMMEDIATE").await.unwrap();
        other
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_while_the_store_is_being_opened_ends_that_at_once_and_in_order() {
    let mut world = World::new().await;
    world.start().await;
    world.terminate();
    assert!(world.wait().success());
    let _other = world.lock_the_store().await;
    let log = std::fs::File::options().append(true).open(world.dir.path().join("log")).unwrap();
    world.daemon = Some(world.opros(&["serve"]).stderr(log).stdout(Stdio::null()).spawn().unwrap());
    let files = format!("/proc/{}/fd", world.daemon.as_ref().unwrap().id());
    let opened = async || {
        let links = std::fs::read_dir(&files).ok()?.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
        links.into_iter().any(|link| link.ends_with("store/opros.db")).then_some(())
    };
    until("the store is being opened", opened).await;
    world.terminate();
    let exit = world.wait();
    assert_eq!(exit.code(), Some(0), "it was not waited for until the lock was given up: {}", world.log());
    assert!(world.log().contains("no call was begun"), "{}", world.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_whose_store_does_not_answer_says_what_it_leaves_and_the_next_start_finds_it_in_doubt() {
    let mut world = World::new().await;
    world.timeout = "timeout = \"1s\"";
    world.start().await;
    world.fault("setqueue", Fault::Slow { ms: 400 });
    let job = world.submit().await;
    world.until_seen("setqueue", 1).await;
    let other = world.lock_the_store().await;
    world.terminate();
    assert!(world.wait().success());
    let log = world.log();
    assert!(
        log.contains("the store does not answer") && log.contains("the outcomes of 1 calls are not in it"),
        "{log}"
    );
    drop(other);
    world.heal();
    world.start().await;
    assert_eq!((world.state(job).await.as_str(), world.paid()), ("in_doubt", 1));
}

/// What other programs' habits send (logrotate, timers, a closed pipe) is no kill: that would leave paid calls in doubt.
#[tokio::test(flavor = "multi_thread")]
async fn signals_without_a_meaning_are_ignored_and_sigquit_stops_in_order() {
    let mut world = World::new().await;
    world.start().await;
    world.fault("setqueue", Fault::Slow { ms: 400 });
    let job = world.submit().await;
    world.until_seen("setqueue", 1).await;
    let pid = world.daemon.as_ref().unwrap().id().to_string();
    let send = |signal: &str| {
        assert!(std::process::Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
    };
    for signal in ["USR1", "USR2", "ALRM", "VTALRM", "PROF", "IO", "PWR", "XCPU", "PIPE", "URG", "WINCH", "CONT"] {
        send(signal);
        assert!(world.get(&["v1", "health"]).await.is_some(), "SIG{signal} ends it");
    }
    world.until_state(job, "succeeded").await;
    send("QUIT");
    assert_eq!(world.wait().code(), Some(0), "{}", world.log());
    assert!(world.log().contains("SIGUSR1") && world.log().contains("nothing was cut off"), "{}", world.log());
    assert_eq!(world.paid(), 1);
}
