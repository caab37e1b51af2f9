//! `opros restore FILE`: puts a backup in the store's place while no daemon runs.

use std::path::Path;
use std::process::ExitCode;

use crate::cli::args::RestoreArgs;
use crate::clock::SystemClock;
use crate::config::{self, Sources};
use crate::lifecycle::{EXIT_CONFIG, EXIT_START};
use crate::store::sqlite::restore::{self, Report};

pub async fn run(sources: &Sources, args: RestoreArgs) -> ExitCode {
    let config = match config::load(sources) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("opros does not know where the store is, the configuration is wrong:\n{problems}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    let (store, now) = (&config.store.path, SystemClock::shared().now());
    let Some(file) = args.file else { return moved(store, config.store.allow_network_fs).await };
    match restore::restore(&file, store, config.store.allow_network_fs, now).await {
        Ok(report) => {
            println!("{} is in place at {}.", file.display(), store.display());
            tell(&report);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("nothing was restored: {error}");
            ExitCode::from(EXIT_START)
        }
    }
}

async fn moved(store: &Path, allow_network_fs: bool) -> ExitCode {
    match restore::moved(store, allow_network_fs).await {
        Ok(()) => {
            println!("{} is accepted as moved: the next start goes on with it as it is.", store.display());
            println!("Nothing may run on the original any more, or orders are paid twice.");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("nothing was changed: {error}");
            ExitCode::from(EXIT_START)
        }
    }
}

fn tell(report: &Report) {
    if let Some(kept) = &report.kept {
        println!("The store that was there lies beside it: {}.", kept.display());
    }
    let doubtful = report.queued - report.unsent;
    if report.compared {
        println!(
            "Of {} jobs that are queued in the backup, {} were proven unsent since; {doubtful} will be in doubt.",
            report.queued, report.unsent
        );
        println!(
            "{} jobs are younger than the backup, {} of them were sent: the restored store does not know them.",
            report.younger, report.younger_sent
        );
    } else {
        println!(
            "There was no readable store to compare with: whatever is queued in the backup ({} jobs) may have been sent \
             since, and will be in doubt unless sending it twice costs nothing.",
            report.queued
        );
    }
    println!("Call-back files are not in a backup: the directory files/ beside the store stays as it is.");
    println!("Start opros, then see: opros jobs --state in_doubt");
}
