use std::path::Path;
use std::time::Duration;

use opros::clock::ManualClock;
use opros::domain::delivery::Progress;
use serde_json::Value;

use super::house::{House, command, start_of_time};

fn clock() -> ManualClock {
    ManualClock::new(start_of_time())
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test]
async fn a_command_reads_the_event_and_exit_code_zero_takes_it() {
    let dir = tempfile::tempdir().unwrap();
    let (file, seen) = (dir.path().join("event"), dir.path().join("environment"));
    let script = format!("cat > {}; env > {}", file.display(), seen.display());
    let house = House::new(clock(), vec![command("run", &["/bin/sh", "-c", &script])]).await;
    house.followed(None).await;
    house.until("it was taken", async || house.sink("run").await.delivered == 1).await;
    let event: Value = serde_json::from_str(&read(&file)).unwrap();
    assert_eq!((event["type"].as_str(), event["subject"].as_str()), (Some("job.accepted"), Some("1")));
    let environment = read(&seen);
    let names: Vec<&str> = environment.lines().filter_map(|line| line.split('=').next()).collect();
    assert!(names.iter().all(|name| ["PATH", "LANG", "PWD", "SHLVL", "_"].contains(name)), "{names:?}");
}

#[tokio::test]
async fn arguments_reach_the_program_as_they_stand_without_a_shell() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("argument");
    let script = format!("printf %s \"$1\" > {}", file.display());
    let hostile = "$(touch /tmp/never); `id` | \"x\" *";
    let house = House::new(clock(), vec![command("run", &["/bin/sh", "-c", &script, "sh", hostile])]).await;
    house.followed(None).await;
    house.until("it was taken", async || house.sink("run").await.delivered == 1).await;
    assert_eq!(read(&file), hostile);
}

#[tokio::test]
async fn a_failing_command_is_tried_again_on_the_same_schedule_and_its_last_line_is_shown_masked() {
    let script = "echo first >&2; echo 'no: a-secret-of-ours, phone 79990000111' >&2; exit 3";
    let house = House::new(clock(), vec![command("run", &["/bin/sh", "-c", script])]).await;
    house.followed(None).await;
    house.tried("run").await;
    let delivery = house.deliveries("run").await.remove(0);
    let error = delivery.error.unwrap();
    assert_eq!(error.message, "it ended with exit code 3: no: ***, phone 79***");
    assert_eq!((delivery.status, delivery.due_at), (Some(3), Some(start_of_time() + Duration::from_secs(5))));
    assert_eq!(delivery.progress, Progress::Pending);
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_killed_with_all_that_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let script = format!("sleep 1000 & echo $! > {0}; echo $$ >> {0}; echo waiting >&2; wait", pids.display());
    let mut setup = command("run", &["/bin/sh", "-c", &script]);
    setup.timeout = Duration::from_millis(700);
    let house = House::new(clock(), vec![setup]).await;
    house.followed(None).await;
    house.tried("run").await;
    let error = house.deliveries("run").await.remove(0).error.unwrap();
    assert!(error.message.contains("was killed: waiting"), "{}", error.message);
    for pid in read(&pids).lines() {
        let gone = async || {
            let state = read(Path::new(&format!("/proc/{pid}/stat")));
            // A zombie that its new parent has not taken away yet is dead, too.
            state.is_empty() || state.contains(") Z ")
        };
        for _ in 0..1000 {
            if gone().await {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(gone().await, "process {pid} lives on");
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_and_one_that_reads_nothing_are_told_apart() {
    let setups = vec![command("gone", &["/nowhere/program"]), command("deaf", &["/bin/true"])];
    let house = House::new(clock(), setups).await;
    house.followed(None).await;
    house.tried("gone").await;
    let error = house.deliveries("gone").await.remove(0).error.unwrap();
    assert!(error.message.starts_with("/nowhere/program cannot be started"), "{}", error.message);
    house.until("the other took it", async || house.sink("deaf").await.delivered == 1).await;
}
