//! The binary: reads the command line and hands over.

use std::process::ExitCode;

use opros::cli::{self, ClientCommand, Command, ConfigCommand};
use opros::config::Sources;
use opros::{app, demo, doctor, init, lifecycle, restore, simulator};

fn main() -> ExitCode {
    let cli = cli::parse();
    let globals = cli.globals;
    let threads = match &cli.command {
        Command::Client(_) | Command::Restore(_) | Command::Init(_) | Command::Doctor(_) => {
            tokio::runtime::Builder::new_current_thread().enable_all().build()
        }
        Command::Serve(_) | Command::Simulate(_) | Command::Demo(_) => {
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
        }
    };
    let runtime = match threads {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("opros cannot start its threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => {
                lifecycle::serve(Sources::from_process(globals.config.clone(), globals.overrides(&args.set))).await
            }
            Command::Simulate(args) => simulator::command::run(args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Restore(args) => {
                restore::run(&Sources::from_process(globals.config.clone(), globals.overrides(&[])), args).await
            }
            Command::Init(args) => {
                let config = globals.config.clone();
                let init = async |term: &mut _, clock: &_| init::init(term, clock, &args, config.as_deref()).await;
                cli::run_with(globals.json, init).await.into()
            }
            Command::Doctor(args) => {
                let sources = Sources::from_process(globals.config.clone(), globals.overrides(&[]));
                let doctor = async |term: &mut _, clock: &_| doctor::doctor(term, clock, sources, &args).await;
                cli::run_with(globals.json, doctor).await.into()
            }
            Command::Client(ClientCommand::Config(ConfigCommand::Check)) => {
                cli::check_config(&globals, &app::check).into()
            }
            Command::Client(command) => cli::run(&globals, command).await.into(),
        }
    });
    // What still runs after a second signal is not waited for.
    runtime.shutdown_background();
    code
}
