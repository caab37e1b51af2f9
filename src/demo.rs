//! `opros demo`: simulated vendors, a daemon and a few jobs on this machine; half a day passes in some twenty seconds.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anstream::println;
use chrono::TimeZone;
use chrono_tz::Europe::Moscow;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::app::Daemon;
use crate::cli::DemoArgs;
use crate::cli::client::Client;
use crate::clock::{Clock, ScaledClock, SharedClock, SystemClock};
use crate::config::{self, Sources};
use crate::domain::{Event, EventType, Timestamp};
use crate::simulator::{
    AltaSim, CallbackForm, CallbackStyle, Change, RlabSim, SimConfig, Simulator, TronkSim, VagvinSim,
};
use crate::store::{EventPage, JobFilter};

/// Half an hour of the vendors' time in a second.
const SPEED: f64 = 1_800.0;
/// The demo is over after this, whatever happens.
const LONGEST: Duration = Duration::from_secs(40);

/// Behind which the simulated VagVin finds the demo's door.
const CALLBACK_SECRET: &str = "demo-call-back-secret";

/// A demo that did not come to its end, and why.
type Failure = Box<dyn std::error::Error + Send + Sync>;

pub async fn run(args: DemoArgs) -> ExitCode {
    match tokio::time::timeout(LONGEST, play(&args)).await {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => {
            eprintln!("the demo ended, and not every job came to its end as it should");
            ExitCode::FAILURE
        }
        Ok(Err(error)) => {
            eprintln!("the demo stopped: {error}");
            ExitCode::FAILURE
        }
        Err(_) => {
            eprintln!("the demo did not end within {} s; is this machine very busy?", LONGEST.as_secs());
            ExitCode::FAILURE
        }
    }
}

async fn play(args: &DemoArgs) -> Result<bool, Failure> {
    let directory = tempfile::Builder::new().prefix("opros-demo-").tempdir()?;
    let clock: SharedClock = Arc::new(ScaledClock::starting_at(eight_o_clock(), SPEED));
    let simulator = Simulator::start(vendors(&clock)).await?;
    let config = config::load(&Sources::from_text(&settings(directory.path(), &simulator)))?;
    let daemon = Daemon::start(&config, Arc::clone(&clock)).await?;
    let url = daemon.callback_address().map(|address| format!("http://{address}/callbacks/vagvin/{CALLBACK_SECRET}"));
    simulator.control().apply(Change::VagvinCallbackUrl { url })?;
    println!("opros demo: four simulated vendors, a daemon and its databases in {}", directory.path().display());
    println!("A second here is half an hour there; it is eight in the morning in Moscow.\n");

    let socket = config.admin.socket.clone();
    let mailbox = config.mailbox.path.clone().ok_or("the demo has a mailbox")?;
    let mut count = insert(&mailbox).await?;
    count += post(&socket).await?;
    println!();
    let done = follow(&daemon, count).await?;
    summary(&daemon, &simulator, done).await?;
    let good = daemon.engine().store().jobs(JobFilter { limit: 100, ..JobFilter::default() }).await?;
    let good = good.jobs.iter().all(|details| match details.job.tag.as_deref() {
        Some("fails") => details.job.state == crate::domain::State::Failed,
        _ => details.job.state == crate::domain::State::Succeeded,
    });
    daemon.stop().await;
    simulator.stop().await;
    if args.keep {
        println!("The databases stay in {}", directory.keep().display());
    }
    Ok(good)
}

/// Of today, Moscow time: the wagons' first report is due at nine.
fn eight_o_clock() -> Timestamp {
    let today = SystemClock.now().to_utc().with_timezone(&Moscow).date_naive();
    let morning = today.and_hms_opt(8, 0, 0).and_then(|local| Moscow.from_local_datetime(&local).single());
    morning.map_or_else(|| SystemClock.now(), |at| Timestamp::from_millis(at.timestamp_millis()))
}

fn vendors(clock: &SharedClock) -> SimConfig {
    let minutes = |n: u64| Duration::from_secs(n * 60);
    let with_pdf = CallbackStyle { form: CallbackForm::Multipart, ..CallbackStyle::default() };
    SimConfig {
        clock: Arc::clone(clock),
        tronk: TronkSim { ready_after: minutes(40), no_data: ["79990000404".to_owned()].into(), ..TronkSim::default() },
        alta: AltaSim { first_data_after: minutes(5), leg: minutes(100), ..AltaSim::default() },
        rlab: RlabSim { first_status_after: minutes(15), step: minutes(75), ..RlabSim::default() },
        vagvin: VagvinSim { answer_after: minutes(90), styles: vec![with_pdf], ..VagvinSim::default() },
        ..SimConfig::default()
    }
}

fn settings(directory: &Path, simulator: &Simulator) -> String {
    let dir = directory.display();
    let base = |vendor: &str| simulator.base_url(vendor);
    let (tronk, alta, rlab) = (TronkSim::default(), AltaSim::default(), RlabSim::default());
    format!(
        r#"
[store]
path = "{dir}/store/opros.db"
allow_network_fs = true
[mailbox]
path = "{dir}/mailbox/mailbox.db"
[admin]
socket = "{dir}/admin.sock"
[callbacks]
listen = "127.0.0.1:0"
[accounts.tronk]
vendor = "tronk"
base_url = "{}"
key = "{}"
[accounts.alta]
vendor = "alta"
base_url = "{}"
login = "{}"
sa = "{}"
password = "{}"
[accounts.rlab]
vendor = "rlab"
base_url = "{}"
user_id = {}
user_key = "{}"
poll_ceiling = "1h"
[accounts.vagvin]
vendor = "vagvin"
base_url = "{}"
token = "{}"
callback_secret = "{CALLBACK_SECRET}"
"#,
        base("tronk"),
        tronk.key,
        base("alta"),
        alta.login,
        alta.sa,
        alta.password,
        base("rlab"),
        rlab.user_id,
        rlab.user_key,
        base("vagvin"),
        VagvinSim::default().token,
    )
}

/// Orders that come through the mailbox, as another program would insert them.
async fn insert(mailbox: &Path) -> Result<usize, Failure> {
    let wagons = json!({
        "wagons": ["54676515", "AMFU8899067"], "track_state": "ru", "track_type": 2,
        "times": ["09:00", "13:00", "18:00"], "stop_station": "yes",
    });
    let orders = [
        ("tronk.report", json!({ "phone": "79990000111" }), None),
        ("tronk.report", json!({ "gosnumber": "А123ВС77" }), None),
        ("tronk.report", json!({ "phone": "79990000404" }), Some("fails")),
        ("alta.track", wagons, None),
    ];
    let mut conn = SqliteConnectOptions::new().filename(mailbox).busy_timeout(Duration::from_secs(5)).connect().await?;
    for (kind, params, tag) in &orders {
        println!("sqlite> INSERT INTO jobs (kind, params) VALUES ('{kind}', '{params}');");
        sqlx::query("INSERT INTO jobs (kind, params, tag) VALUES ($1, $2, $3)")
            .bind(kind)
            .bind(params.to_string())
            .bind(tag)
            .execute(&mut conn)
            .await?;
    }
    conn.close().await?;
    Ok(orders.len())
}

/// Orders that come over the socket.
async fn post(socket: &Path) -> Result<usize, Failure> {
    let client = Client::new(socket.to_owned())?;
    let report = json!({
        "vin": "WVWZZZ1KZAW123456", "check_type": "check_elsa_pro_full", "car_brand": "Volkswagen", "report_language": "Русский",
    });
    let orders = [
        json!({ "kind": "vagvin.report", "params": report }),
        json!({ "kind": "tronk.report_json", "params": { "vin": "XTA21099071234567" } }),
        json!({ "kind": "rlab.track", "params": { "track": "19527937484546", "name": "Дмитрий" } }),
        json!({ "kind": "rlab.track", "params": { "track": "63010828068631", "name": "Василий" } }),
    ];
    for order in &orders {
        println!("curl> POST /v1/jobs {order}");
        client.post(&["v1", "jobs"], order).await?;
    }
    Ok(orders.len())
}

/// Prints events until `count` jobs have ended; returns how many have.
async fn follow(daemon: &Daemon, count: usize) -> Result<usize, Failure> {
    let store = daemon.engine().store();
    let (mut commits, mut after, mut ended) = (store.commits(), 0, 0);
    let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
    while ended < count {
        let EventPage::Events(events) = store.events(after, 100).await? else {
            return Err("events were removed while they were read".into());
        };
        for event in &events {
            after = event.seq;
            ended += usize::from(event.kind.is_terminal());
            show(event, &mut lines);
        }
        if events.is_empty() {
            commits.changed().await?;
        }
    }
    println!();
    for (vehicle, stations) in &lines {
        println!("  the way of {vehicle}: {}", stations.join(" → "));
    }
    Ok(ended)
}

fn show(event: &Event, lines: &mut BTreeMap<String, Vec<String>>) {
    let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
    let text = |pointer: &str| data.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let at = event.at.to_utc().with_timezone(&Moscow).format("%H:%M");
    let note = match event.kind {
        EventType::JobUpdated => changes(&data, lines),
        EventType::JobFailed | EventType::JobExpired => text("/error/message"),
        _ => String::new(),
    };
    let job = event.job.map(|id| format!("job {id}")).unwrap_or_default();
    println!("{at}  {job:<7} {:<18} {:<15} {note}", text("/kind"), event.kind.as_str());
}

/// What changed, in a few words; stations are remembered as the line on the map.
fn changes(data: &Value, lines: &mut BTreeMap<String, Vec<String>>) -> String {
    let mut words = Vec::new();
    let changes = data.get("changes").cloned().unwrap_or_default();
    if let Some(vehicles) = changes.get("vehicles").and_then(Value::as_object) {
        for (number, fields) in vehicles {
            let to = |name: &str| fields.pointer(&format!("/{name}/to")).and_then(Value::as_str);
            if let Some(station) = to("station_name") {
                words.push(format!("{number}: {station}"));
                lines.entry(number.clone()).or_default().push(station.to_owned());
            }
        }
    } else if let Some(status) = changes.pointer("/status_text/to").and_then(Value::as_str) {
        words.push(status.to_owned());
    }
    words.join(", ")
}

async fn summary(daemon: &Daemon, simulator: &Simulator, done: usize) -> Result<(), Failure> {
    let page = daemon.engine().store().jobs(JobFilter { limit: 100, ..JobFilter::default() }).await?;
    println!("\n{done} jobs have ended:");
    for details in page.jobs.iter().rev() {
        let job = &details.job;
        let result = details.result.as_ref().map(|text| format!("{} bytes of result", text.len()));
        println!(
            "  job {:<3} {:<18} {:<10} {} submitted, {} polls  {}",
            job.id,
            job.kind,
            job.state.as_str(),
            job.submissions,
            job.polls,
            result.or_else(|| job.reason.as_ref().map(|reason| reason.message.clone())).unwrap_or_default()
        );
    }
    for details in &page.jobs {
        for file in daemon.engine().store().job_files(details.job.id).await? {
            println!("\nA file came with job {}: {}, {} bytes.", details.job.id, file.name, file.size);
        }
    }
    let paid = simulator.ledger().iter().filter(|booking| booking.op != "daily").count();
    println!(
        "\nThe vendors saw {} requests, {paid} of them paid orders, and {} breaches of manners.",
        simulator.requests().len(),
        simulator.violations().len()
    );
    println!("Next: README.md shows how to run it for real, and `opros --help` what else it can do.");
    Ok(())
}
