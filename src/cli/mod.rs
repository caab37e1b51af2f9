//! The command line: the same binary as the daemon, speaking to its admin socket.
//!
//! Architecture invariant: commands know the socket's contract and nothing of the store, the engine or the vendors.
//! `serve`, `simulate` and `demo` are declared here and run by whoever called [`parse`].

pub mod accounts;
pub mod args;
pub mod backup;
pub mod bulk;
pub mod calendar;
pub mod callbacks;
pub mod client;
pub mod config_check;
pub mod costs;
pub mod exec;
pub mod exit;
pub mod explain;
pub mod failure;
mod feed;
pub mod follow;
pub mod health;
pub mod insist;
pub mod jobs;
pub mod logs;
pub mod man;
pub mod operate;
pub mod output;
pub mod pages;
pub mod params;
pub mod problem;
pub mod reach;
pub mod save;
pub mod socket;
pub mod sse;
pub mod submit;
pub mod table;
pub mod text;
pub mod wait;
pub mod watch;
pub mod webhooks;
pub mod when;
pub mod wire;

use clap::{CommandFactory, Parser};
use clap_complete::Shell;

pub use self::args::{Cli, ClientCommand, Command, ConfigCommand, DemoArgs, Globals, ServeArgs, SimulateArgs};
use self::client::Client;
pub use self::exit::Exit;
pub use self::failure::Failure;
use self::output::Term;
use self::reach::Reach;
use crate::clock::{SharedClock, SystemClock};
use crate::config::Sources;

/// Reads the process's command line; help and mistakes end the process as clap does.
pub fn parse() -> Cli {
    Cli::parse()
}

/// Carries out a client's command on the process's own streams.
pub async fn run(globals: &Globals, command: ClientCommand) -> Exit {
    let mut term = Term::process(globals.json);
    run_on(&mut term, &SystemClock::shared(), globals, command).await
}

/// `config check`; `further` is what only the vendors' drivers can judge.
pub fn check_config(globals: &Globals, further: config_check::Further<'_>) -> Exit {
    let mut term = Term::process(globals.json);
    let sources = Sources::from_process(globals.config.clone(), globals.overrides(&[]));
    match config_check::check(&mut term, &sources, further) {
        Ok(exit) => exit,
        Err(failure) if failure.is_broken_pipe() => Exit::Ok,
        Err(failure) => complain(&mut term, &failure),
    }
}

/// Carries out what needs more of the house than the socket's contract, such as `doctor` and `init`.
pub async fn run_with(json: bool, command: impl AsyncFnOnce(&mut Term, &SharedClock) -> Result<Exit, Failure>) -> Exit {
    let mut term = Term::process(json);
    let done = command(&mut term, &SystemClock::shared()).await;
    ended(&mut term, done)
}

/// The same with streams and time handed in.
pub async fn run_on(term: &mut Term, clock: &SharedClock, globals: &Globals, command: ClientCommand) -> Exit {
    let done = dispatch(term, clock, globals, command).await;
    ended(term, done)
}

fn ended(term: &mut Term, done: Result<Exit, Failure>) -> Exit {
    let done = done.and_then(|exit| term.finish().map(|()| exit).map_err(Failure::from));
    match done {
        Ok(exit) => exit,
        Err(failure) if failure.is_broken_pipe() => Exit::Ok,
        Err(failure) => complain(term, &failure),
    }
}

/// One line for people; with `--json` the daemon's own words too.
fn complain(term: &mut Term, failure: &Failure) -> Exit {
    if let Failure::Refused { problem, .. } = failure
        && let Some(raw) = problem.raw.as_deref().filter(|_| term.json)
    {
        // Where stdout is gone, stderr may still be there.
        let _ = term.say_json(raw);
    }
    let words = text::block(&failure.to_string());
    let _ = term.note(format!("{} {words}", output::styled(output::BAD, "error:")));
    failure.exit()
}

async fn dispatch(
    term: &mut Term,
    clock: &SharedClock,
    globals: &Globals,
    command: ClientCommand,
) -> Result<Exit, Failure> {
    match command {
        ClientCommand::Completions { shell } => completions(term, shell),
        ClientCommand::Config(ConfigCommand::Check) => {
            let sources = Sources::from_process(globals.config.clone(), globals.overrides(&[]));
            config_check::check(term, &sources, &|_| Ok(()))
        }
        ClientCommand::Man(args) => man::man(term, &args),
        ClientCommand::Explain(args) if explain::job_number(&args)?.is_none() => {
            explain::code(term, args.what.as_deref())
        }
        command => {
            let sources = Sources::from_process(globals.config.clone(), globals.overrides(&[]));
            let client = Client::reach(Reach::of(globals, &sources)?)?;
            let client = match globals.patience {
                Some(patience) => client.with_patience(patience),
                None => client,
            };
            talk(&mut Session { term, client: &client, clock }, command).await
        }
    }
}

/// What every command that speaks to the daemon needs.
#[derive(Debug)]
pub struct Session<'a> {
    pub term: &'a mut Term,
    pub client: &'a Client,
    pub clock: &'a SharedClock,
}

async fn talk(session: &mut Session<'_>, command: ClientCommand) -> Result<Exit, Failure> {
    match command {
        ClientCommand::Submit(args) => submit::submit(session, args).await,
        ClientCommand::Jobs(args) => jobs::list(session, args).await,
        ClientCommand::Show(args) => jobs::show(session, args).await,
        ClientCommand::Watch(args) => watch::watch(session, args).await,
        ClientCommand::Wait(args) => wait::wait(session, args).await,
        ClientCommand::Explain(args) => match explain::job_number(&args)? {
            Some(id) => explain::explain(session, id).await,
            None => explain::code(session.term, args.what.as_deref()),
        },
        ClientCommand::Costs(args) => costs::costs(session, args).await,
        ClientCommand::Cancel(args) => operate::cancel(session, args).await,
        ClientCommand::Release(args) => operate::release(session, args).await,
        ClientCommand::Retry(args) => operate::retry(session, args).await,
        ClientCommand::Resolve(args) => operate::resolve(session, args).await,
        ClientCommand::Callbacks(args) => callbacks::callbacks(session, args).await,
        ClientCommand::Accounts => accounts::list(session).await,
        ClientCommand::Pause(args) => accounts::pause(session, args).await,
        ClientCommand::Resume(account) => accounts::resume(session, account).await,
        ClientCommand::Schedules => calendar::schedules(session).await,
        ClientCommand::Backup(args) => backup::backup(session, args).await,
        ClientCommand::Export(args) => backup::export(session, args).await,
        ClientCommand::Purge(args) => backup::purge(session, args).await,
        ClientCommand::Reload => calendar::reload(session).await,
        ClientCommand::Webhooks(args) => webhooks::webhooks(session, args).await,
        ClientCommand::Health => health::health(session).await,
        ClientCommand::Log(args) => logs::log(session, args).await,
        ClientCommand::Config(_) | ClientCommand::Completions { .. } | ClientCommand::Man(_) => Ok(Exit::Ok),
    }
}

fn completions(term: &mut Term, shell: Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "opros", &mut script);
    term.say(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Ok)
}
