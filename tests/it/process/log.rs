//! The log, and whoever reads it or does not.

use std::io::Read;
use std::process::Stdio;

use serde_json::json;

use super::{World, until};

impl World {
    /// Starts with the log in a pipe. Until somebody reads it, it takes 64 KiB.
    async fn start_with_pipe(&mut self, more: &[&str]) -> std::process::ChildStderr {
        let mut command = self.opros(&[&["serve"], more].concat());
        let mut daemon = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the binary starts");
        let pipe = daemon.stderr.take().expect("a pipe");
        self.daemon = Some(daemon);
        until("the socket answers", async || self.get(&["v1", "health"]).await).await;
        pipe
    }
}

/// Work, socket, health and signals do not hang on whether somebody reads what opros says of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_stops_nothing() {
    for form in ["text", "json"] {
        let mut world = World::new().await;
        let format = format!("log.format={form}");
        let mut pipe = world.start_with_pipe(&["--set", &format]).await;
        // A line for each: the pipe holds some hundreds of them.
        let mut last = 0;
        for _ in 0..700 {
            last = world.submit().await;
        }
        let stuck = async || {
            let health = world.get(&["v1", "health"]).await?;
            health["causes"].to_string().contains("\"log_stuck\"").then_some(())
        };
        until("health says that nobody takes the log", stuck).await;
        world.until_state(last, "succeeded").await;
        let another = world.submit().await;
        world.until_state(another, "succeeded").await;
        world.terminate();
        assert!(world.wait().success(), "it ends as it should, {form}");
        // What waited in the pipe is whole lines in their order.
        let mut text = String::new();
        pipe.read_to_string(&mut text).expect("what was written");
        assert!(text.contains("opros is ready") && text.len() > 30_000, "{}", text.len());
    }
}

/// Nobody who orders can keep it out of the log.
#[tokio::test(flavor = "multi_thread")]
async fn no_filter_switches_the_audit_off() {
    let mut world = World::new().await;
    world.start().await;
    let read = |world: &World| std::fs::read_to_string(world.dir.path().join("log")).unwrap();
    let filters = ["off", "error", "opros=off", "info,opros::admin=off", "off,opros::audit=off", "opros::audit=error"];
    let uid = format!(" uid={}", rustix::process::getuid().as_raw());
    for filter in filters {
        let before = read(&world).len();
        let body = json!({ "filter": filter });
        world.client().put(&["v1", "log"], &body).await.expect("the log is changed");
        assert!(world.run(&["pause", "tronk"]).status.success());
        let job = world.submit().await.to_string();
        assert!(world.run(&["cancel", &job]).status.success());
        assert!(world.run(&["resume", "tronk"]).status.success());
        assert!(world.run(&["log", "reset"]).status.success());
        let wanted = [
            "log filter change requested",
            "an operator changed what is logged",
            "an operator paused an account",
            "a job was handed in",
            "an operator wished to cancel a job",
            "an operator resumed an account",
            "log filter reset requested",
        ];
        let told = async || {
            let text = read(&world)[before..].to_owned();
            wanted
                .iter()
                .all(|words| text.lines().any(|line| line.contains(words) && line.contains(&uid)))
                .then_some(())
        };
        until(&format!("with {filter} everything is told"), told).await;
    }
    world.kill();
}

/// Nor can whoever writes the configuration, by which the daemon starts.
#[tokio::test(flavor = "multi_thread")]
async fn a_configured_filter_does_not_switch_the_audit_off_either() {
    let mut world = World::new().await;
    let mut pipe = world.start_with_pipe(&["--set", "log.filter=off"]).await;
    assert!(world.run(&["pause", "tronk"]).status.success());
    world.terminate();
    assert!(world.wait().success());
    let mut text = String::new();
    pipe.read_to_string(&mut text).expect("what was written");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() == 1 && lines[0].contains("an operator paused an account"), "{text}");
}
