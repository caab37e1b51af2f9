//! `opros simulate`: the vendors on a local port until Ctrl-C, for people who test their own integrations.

use std::process::ExitCode;
use std::sync::Arc;

use super::{FaultPlan, SimConfig, Simulator};
use crate::cli::SimulateArgs;
use crate::cli::args::SAMPLE_CALLBACK_SECRET;
use crate::clock::{ScaledClock, SharedClock, SystemClock};

pub async fn run(args: SimulateArgs) -> ExitCode {
    let faults = match args.faults.as_deref().map(read_faults).transpose() {
        Ok(faults) => faults.unwrap_or_default(),
        Err(problem) => {
            eprintln!("opros simulate: {problem}");
            return ExitCode::from(2);
        }
    };
    let clock: SharedClock = if (args.speed - 1.0).abs() < f64::EPSILON {
        SystemClock::shared()
    } else {
        Arc::new(ScaledClock::new(args.speed))
    };
    let mut config = SimConfig {
        listen: args.listen,
        clock,
        seed: args.seed,
        ledger_file: args.ledger,
        faults,
        ..SimConfig::default()
    };
    config.vagvin.callback_url = Some(args.callbacks).filter(|url| !url.is_empty());
    let accounts = sample_accounts(&config);
    let callbacks = config.vagvin.callback_url.clone();
    let simulator = match Simulator::start(config).await {
        Ok(simulator) => simulator,
        Err(error) => {
            eprintln!("opros simulate: {error}");
            return ExitCode::FAILURE;
        }
    };
    tell(&simulator, args.speed, accounts, callbacks.as_deref());
    if let Err(error) = tokio::signal::ctrl_c().await {
        eprintln!("opros simulate: Ctrl-C cannot be listened to ({error}); stop it with kill");
        std::future::pending::<()>().await;
    }
    simulator.stop().await;
    ExitCode::SUCCESS
}

/// Accounts to stdout, as a file that `opros init --accounts` takes; the rest to people.
fn tell(simulator: &Simulator, speed: f64, accounts: [(&'static str, String); 4], callbacks: Option<&str>) {
    let at = simulator.addr();
    eprintln!("The vendors play at http://{at}, {speed}x faster than life. Stop with Ctrl-C.\n");
    eprintln!(
        "Put this into a config to use them (or: opros simulate > accounts.toml, opros init --accounts accounts.toml):\n"
    );
    for (vendor, secrets) in accounts {
        println!(
            "[accounts.{vendor}]\nvendor = \"{vendor}\"\nbase_url = \"{}\"\n{secrets}",
            simulator.base_url(vendor)
        );
    }
    eprintln!("The ledger of paid submissions: curl http://{at}/_sim/ledger");
    eprintln!("What goes wrong:                curl -X PUT http://{at}/_sim/faults -d @plan.json");
    match callbacks {
        Some(url) => eprintln!("VagVin delivers its reports to: {url}   (elsewhere: --callbacks URL)"),
        None => eprintln!("VagVin delivers no report:      --callbacks URL"),
    }
}

fn read_faults(path: &std::path::Path) -> Result<FaultPlan, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{} is no fault plan: {error}", path.display()))
}

/// The credentials that the simulated vendors take, as lines of a config.
fn sample_accounts(config: &SimConfig) -> [(&'static str, String); 4] {
    let (alta, rlab) = (&config.alta, &config.rlab);
    [
        ("tronk", format!("key = \"{}\"\n", config.tronk.key)),
        ("alta", format!("login = \"{}\"\nsa = \"{}\"\npassword = \"{}\"\n", alta.login, alta.sa, alta.password)),
        ("rlab", format!("user_id = {}\nuser_key = \"{}\"\n", rlab.user_id, rlab.user_key)),
        ("vagvin", format!("token = \"{}\"\ncallback_secret = \"{SAMPLE_CALLBACK_SECRET}\"\n", config.vagvin.token)),
    ]
}
