//! What operators see of call-backs and files, over the socket and on the command line.

use clap::Parser;
use opros::cli::output::Term;
use opros::cli::{self, Cli, Command, Exit};
use opros::clock::SystemClock;
use opros::domain::JobId;
use opros::simulator::{CallbackForm, CallbackStyle, CallbackWhen};
use serde_json::{Value, json};

use super::house::{House, SECRET, multipart, vin};

fn silent() -> CallbackStyle {
    CallbackStyle { when: CallbackWhen::Never, ..CallbackStyle::default() }
}

async fn opros(house: &House, words: &[&str]) -> Exit {
    let socket = house.socket();
    let words = ["opros", "--json", "--socket", socket.to_str().unwrap()].into_iter().chain(words.iter().copied());
    let cli = Cli::try_parse_from(words).unwrap();
    let Command::Client(command) = cli.command else { panic!("a client's command") };
    let mut term = Term::process(true);
    cli::run_on(&mut term, &SystemClock::shared(), &cli.globals, command).await
}

async fn get(house: &House, path: &[&str], query: &[(&str, String)]) -> Value {
    house.client().get(path, query).await.unwrap().read().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unmatched_call_back_is_shown_and_given_away_by_hand() {
    let house = House::new(silent()).await;
    let job = house.order(&vin(1)).await;
    house.until_state(job, "waiting").await;
    house.post_json(&json!({ "vin": vin(2), "status": "typo" })).await;
    house.post(&house.url(SECRET), "application/pdf", "%PDF-1.4 only a report").await;
    house.until_callbacks(2).await;
    let listed = get(&house, &["v1", "callbacks"], &[("matched", "false".to_owned())]).await;
    let (pdf, typo) = (&listed["callbacks"][0], &listed["callbacks"][1]);
    assert_eq!((typo["vin"].as_str(), typo["job"].is_null()), (Some(vin(2).as_str()), true));
    assert_eq!((pdf["content_type"].as_str(), pdf["from"].as_str()), (Some("application/pdf"), Some("127.0.0.1")));

    let id = pdf["id"].to_string();
    assert_eq!(opros(&house, &["callbacks", "assign", &id, &job.to_string()]).await, Exit::Ok);
    house.until_state(job, "succeeded").await;
    assert_eq!(house.result(job).await["files"][0]["name"], "callback.pdf");
    let again = opros(&house, &["callbacks", "assign", &id, &job.to_string()]).await;
    assert_ne!(again, Exit::Ok, "it is there already");
    let of_others = get(&house, &["v1", "callbacks"], &[("account", "other".to_owned())]).await;
    assert_eq!(of_others["callbacks"], json!([]));
    let matched = get(&house, &["v1", "callbacks"], &[("matched", "true".to_owned())]).await;
    assert_eq!((&matched["callbacks"][0]["job"], &matched["callbacks"][0]["how"]), (&json!(job.0), &json!("assigned")));
    assert_eq!(opros(&house, &["callbacks"]).await, Exit::Ok);
    assert_eq!(opros(&house, &["callbacks", "--unmatched", "--account", "vagvin"]).await, Exit::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_back_is_not_given_to_what_was_never_sent_or_does_not_exist() {
    let house = House::new(silent()).await;
    assert_eq!(opros(&house, &["pause", "vagvin"]).await, Exit::Ok);
    let job = house.order(&vin(1)).await;
    house.post_json(&json!({ "vin": vin(2) })).await;
    let id = house.until_callbacks(1).await[0].id.to_string();
    for (callback, job) in [(id.as_str(), job), (&id, JobId(99)), ("99", job)] {
        assert_ne!(opros(&house, &["callbacks", "assign", callback, &job.to_string()]).await, Exit::Ok);
    }
    assert_eq!(house.job(job).await.job.state.as_str(), "queued");
    assert!(house.callbacks().await[0].belongs.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_fetched_as_they_came_and_saved_without_overwriting() {
    let house = House::new(CallbackStyle { form: CallbackForm::Multipart, ..CallbackStyle::default() }).await;
    let job = house.order(&vin(1)).await;
    house.until_state(job, "succeeded").await;
    let files = get(&house, &["v1", "jobs", &job.to_string(), "files"], &[]).await;
    let name = files["files"][0]["name"].as_str().unwrap().to_owned();
    let id = job.to_string();
    let response = house.client().stream(&["v1", "jobs", &id, "files", &name], &[], "*/*").await.unwrap();
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "application/pdf");
    assert!(header("content-disposition").starts_with("attachment; "));
    assert_eq!(header("x-content-type-options"), "nosniff");
    let bytes = response.bytes().await.unwrap();
    assert_eq!(opros::domain::exchange::sha256_hex(&bytes), files["files"][0]["sha256"]);
    for name in ["nothing.pdf", "../store/opros.db", "..%2f..%2fopros.db"] {
        assert!(house.client().get(&["v1", "jobs", &id, "files", name], &[]).await.is_err(), "{name}");
    }

    let saved = house.dir.path().join("saved");
    let words = ["show", &id, "--save", saved.to_str().unwrap()];
    assert_eq!(opros(&house, &words).await, Exit::Ok);
    assert_eq!(std::fs::read(saved.join(&name)).unwrap(), bytes);
    assert_ne!(opros(&house, &words).await, Exit::Ok, "it is there already");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_report_adds_its_files_beside_the_first() {
    let house = House::new(silent()).await;
    let job = house.order(&vin(1)).await;
    house.until_state(job, "waiting").await;
    for content in ["%PDF one", "%PDF two"] {
        let body = multipart("b", &[("vin", &vin(1))], &[("report.pdf", content.as_bytes())]);
        assert_eq!(house.post(&house.url(SECRET), "multipart/form-data; boundary=b", body).await, 200);
    }
    let stored = house.until_callbacks(2).await;
    house.until_state(job, "succeeded").await;
    assert!(stored.iter().any(|callback| callback.belongs.is_none()), "the second is nobody's by itself");
    let second = stored[0].id.to_string();
    assert_eq!(opros(&house, &["callbacks", "assign", &second, &job.to_string()]).await, Exit::Ok);
    let names: Vec<String> = house.store().job_files(job).await.unwrap().into_iter().map(|file| file.name).collect();
    assert_eq!(names, ["report (2).pdf", "report.pdf"]);
    assert_eq!(house.event_types(job).await, ["job.accepted", "job.succeeded", "job.updated"]);
}
