//! The command line as types.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::when::Moment;
use super::{exit, params};
use crate::config::duration;
use crate::domain::State;

/// Carries paid requests to slow vendors, polls politely until the answer is there, and tells whoever waits.
#[derive(Debug, Clone, Parser)]
#[command(name = "opros", version, after_help = exit::HELP, disable_help_subcommand = true, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

/// These stand anywhere on the command line.
#[derive(Debug, Clone, Default, Args)]
pub struct Globals {
    /// The configuration file [default: /etc/opros/opros.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The admin socket [default: OPROS_ADMIN__SOCKET, the configuration's, or /run/opros/admin.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The daemon's admin.listen, such as http://127.0.0.1:8078, instead of its socket; needs a token
    #[arg(long, global = true, value_name = "URL", env = "OPROS_URL")]
    pub url: Option<String>,
    /// A file with the token for --url
    #[arg(long, global = true, value_name = "FILE", env = "OPROS_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// Let --url be plain http to another machine: whoever is between sees the token and all data
    #[arg(long, global = true)]
    pub allow_remote: bool,
    /// Print what opros said, as JSON; lists and streams one value a line
    #[arg(long, global = true)]
    pub json: bool,
    /// How long one answer may take [default: 30s]; an order is asked for again for twice as long
    #[arg(long, global = true, hide = true, value_name = "DURATION", value_parser = span)]
    pub patience: Option<Duration>,
}

impl Globals {
    /// Settings that flags override, dotted keys with the text of their values; the last of equal keys counts.
    pub fn overrides(&self, set: &[(String, String)]) -> Vec<(String, String)> {
        let socket = self.socket.as_ref().map(|path| ("admin.socket".to_owned(), path.display().to_string()));
        set.iter().cloned().chain(socket).collect()
    }
}

#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Run the daemon
    Serve(ServeArgs),
    #[command(flatten)]
    Client(ClientCommand),
    /// Write a first configuration: asks for accounts and tries them where that is free
    Init(InitArgs),
    /// Look at everything around opros that can be wrong, and say what to do; pays and changes nothing
    #[command(after_help = DOCTOR_HELP)]
    Doctor(DoctorArgs),
    /// Put a backup in the store's place; no daemon may run
    Restore(RestoreArgs),
    /// Play the four vendors on a local port, with faults on demand
    Simulate(SimulateArgs),
    /// Show opros at work: a daemon, simulated vendors and a few jobs, all on this machine
    Demo(DemoArgs),
}

/// What speaks to a daemon, or to nobody.
#[derive(Debug, Clone, Subcommand)]
pub enum ClientCommand {
    /// Hand in a job, or a file of jobs
    #[command(after_long_help = params::HELP)]
    Submit(SubmitArgs),
    /// List jobs, the newest first
    Jobs(JobsArgs),
    /// Show all of a job
    Show(ShowArgs),
    /// Follow events as they happen
    Watch(WatchArgs),
    /// Wait until jobs have ended; the exit code says how
    #[command(after_help = exit::HELP)]
    Wait(WaitArgs),
    /// Say why a job is not done and what happens next; or what a code means
    Explain(ExplainArgs),
    /// Cancel jobs, as soon as their state allows
    Cancel(CancelArgs),
    /// Send held jobs, although an equal order was sent shortly before
    Release(CancelArgs),
    /// Start a finished job again, as a new job
    Retry(RetryArgs),
    /// Decide on a job in doubt
    Resolve(ResolveArgs),
    /// List what vendors sent by themselves, the newest first; or say whose it is
    #[command(args_conflicts_with_subcommands = true)]
    Callbacks(CallbacksArgs),
    /// List accounts: limits, breaker, balance, last error
    Accounts,
    /// What was ordered, at what price, how sure; and whether the balances agree
    Costs(CostsArgs),
    /// Make no calls for an account until it is resumed
    Pause(PauseArgs),
    /// Let an account call again; also closes its breaker and ends a freeze
    Resume(AccountArg),
    /// List schedules: when their next jobs are ordered, and what became of the last time
    Schedules,
    /// Write a checked copy of the running store into a new file
    Backup(BackupArgs),
    /// Print all jobs or events, the oldest first
    Export(ExportArgs),
    /// Remove a person's data from finished jobs; that they were ordered, and whether they were paid, stays
    Purge(PurgeArgs),
    /// Read the configuration again; a wrong one changes nothing
    Reload,
    /// List webhooks and commands: how far each was told, what waits, why it fails; or act on one
    #[command(args_conflicts_with_subcommands = true)]
    Webhooks(WebhooksArgs),
    /// Say whether opros is well, and why not
    Health,
    /// Show what is logged; or log more or less, for a while
    Log(LogArgs),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell
    Completions {
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Print the manual page opros(1); or write all of them into a directory
    Man(ManArgs),
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub enum ConfigCommand {
    /// Check the configuration without a daemon; says everything that is wrong at once
    Check,
}

#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    #[command(subcommand)]
    pub command: Option<LogCommand>,
}

#[derive(Debug, Clone, Subcommand)]
pub enum LogCommand {
    /// Log by this filter from now on
    Set {
        /// Levels by module, such as debug, or info,opros::engine=debug
        #[arg(value_name = "FILTER")]
        filter: String,
        /// Go back to the configured filter after this long [default: at opros log reset, or the next start]
        #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse)]
        lasts: Option<Duration>,
    },
    /// Log what the configuration says again
    Reset,
}

#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    /// Override a setting, such as log.filter=debug; can be given again
    #[arg(long, value_name = "KEY=VALUE", value_parser = SettingParser)]
    pub set: Vec<(String, String)>,
}

const DOCTOR_HELP: &str = "\
The exit code is 0 without a problem (there may be warnings), and 1 with one. With or without --online no order is sent: the \
vendors' hosts get one HEAD request without a key, and with --online one free call for each account, while no daemon runs.";

#[derive(Debug, Clone, Default, Args)]
pub struct DoctorArgs {
    /// Also try each account's credentials by a free call of the vendor's, where there is one
    #[arg(long, conflicts_with = "offline")]
    pub online: bool,
    /// Leave the network alone
    #[arg(long)]
    pub offline: bool,
}

#[derive(Debug, Clone, Default, Args)]
pub struct InitArgs {
    /// Take the accounts from this TOML file ([accounts.NAME] tables) and ask nothing; - reads stdin
    #[arg(long, value_name = "FILE")]
    pub accounts: Option<PathBuf>,
    /// Put configuration, secrets, store, mailbox and socket below this directory, to try opros out
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Replace a configuration that is there; it is kept beside the new one
    #[arg(long)]
    pub force: bool,
    /// Do not try the credentials
    #[arg(long)]
    pub no_test: bool,
}

#[derive(Debug, Clone, Args)]
pub struct SimulateArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8099")]
    pub listen: SocketAddr,
    /// How many times faster the vendors' time runs
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = speed)]
    pub speed: f64,
    /// Everything that looks random follows from this
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Append every paid submission here, one JSON value a line
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// What is to go wrong, as JSON
    #[arg(long, value_name = "FILE")]
    pub faults: Option<PathBuf>,
    /// Where VagVin delivers its reports: callbacks.listen, the account's name and its callback_secret; "" = nowhere
    #[arg(long, value_name = "URL", default_value = SAMPLE_CALLBACKS)]
    pub callbacks: String,
}

/// The secret end in the account that `opros simulate` prints.
pub const SAMPLE_CALLBACK_SECRET: &str = "choose-a-long-one-of-your-own";
/// That account's address at a daemon with the shipped `callbacks.listen`.
const SAMPLE_CALLBACKS: &str = "http://127.0.0.1:8077/callbacks/vagvin/choose-a-long-one-of-your-own";

#[derive(Debug, Clone, Default, Args)]
pub struct DemoArgs {
    /// Keep the databases, and say where they are
    #[arg(long)]
    pub keep: bool,
    /// Plain lines, also on a terminal
    #[arg(long)]
    pub plain: bool,
}

#[derive(Debug, Clone, Args)]
pub struct SubmitArgs {
    /// What to ask for, such as tronk.report
    #[arg(required_unless_present = "file", value_name = "KIND")]
    pub kind: Option<String>,
    /// key=value is text, key:=json is JSON, key[]=value adds to a list
    #[arg(value_name = "KEY=VALUE", conflicts_with = "params")]
    pub words: Vec<String>,
    /// The params as a JSON object; - reads them from stdin
    #[arg(long, value_name = "JSON")]
    pub params: Option<String>,
    /// A file with one job a line, as POST /v1/jobs takes them; - reads stdin
    #[arg(long, value_name = "NDJSON", conflicts_with_all = ["kind", "words", "params", "account", "dedupe_key", "priority", "tag", "not_before", "deadline", "force"])]
    pub file: Option<PathBuf>,
    /// The account, where the vendor has several
    #[arg(long, value_name = "NAME")]
    pub account: Option<String>,
    /// The order's own token: asking again with it orders nothing [default: a random one]; of a file, the beginning of every
    /// line's, to which its number is added
    #[arg(long, value_name = "TOKEN")]
    pub uid: Option<String>,
    /// While a job with this key is unfinished, it is the answer instead of a new one
    #[arg(long, value_name = "KEY")]
    pub dedupe_key: Option<String>,
    /// 0 goes first, 9 last [default: 5]
    #[arg(long, value_name = "0-9", value_parser = clap::value_parser!(u8).range(0..=9))]
    pub priority: Option<u8>,
    /// Your own mark, to find the job by
    #[arg(long)]
    pub tag: Option<String>,
    /// Send nothing before this: a time in RFC 3339, or a duration from now such as 10m
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    pub not_before: Option<Moment>,
    /// Give up at this time, or after this long
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    pub deadline: Option<Moment>,
    /// Skip the checks of check digits (adds "force": true to the params)
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Clone, Args)]
pub struct JobsArgs {
    /// queued, submitting, waiting, in_doubt, succeeded, failed, cancelled, expired or rejected
    #[arg(long)]
    pub state: Option<State>,
    /// Such as tronk.report
    #[arg(long)]
    pub kind: Option<String>,
    #[arg(long, value_name = "NAME")]
    pub account: Option<String>,
    #[arg(long)]
    pub tag: Option<String>,
    #[arg(long, value_name = "KEY")]
    pub dedupe_key: Option<String>,
    /// The job that was ordered with this token
    #[arg(long, value_name = "TOKEN")]
    pub uid: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: u64,
}

#[derive(Debug, Clone, Args)]
pub struct ShowArgs {
    /// The job's number
    #[arg(value_name = "ID", value_parser = number, required_unless_present = "uid")]
    pub id: Option<i64>,
    /// Instead of its number: the token that it was ordered with
    #[arg(long, value_name = "TOKEN", conflicts_with = "id")]
    pub uid: Option<String>,
    /// Also every event, observation and call, in order
    #[arg(long)]
    pub timeline: bool,
    /// Save the files that came with it in this directory; none that is there is overwritten
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub struct CallbacksArgs {
    #[command(subcommand)]
    pub command: Option<CallbacksCommand>,
    /// Only those that belong to no job yet
    #[arg(long)]
    pub unmatched: bool,
    #[arg(long, value_name = "NAME")]
    pub account: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub limit: u64,
}

#[derive(Debug, Clone, Args)]
pub struct CostsArgs {
    /// Sum up by these: account, kind, tag, day, job
    #[arg(long, value_name = "WHAT", value_delimiter = ',', default_value = "account,kind")]
    pub by: Vec<String>,
    /// From this day or time on [default: 30 days ago]
    #[arg(long, value_name = "DAY|TIME")]
    pub from: Option<String>,
    /// Before this day or time [default: now]
    #[arg(long, value_name = "DAY|TIME")]
    pub to: Option<String>,
    #[arg(long, value_name = "NAME")]
    pub account: Option<String>,
    /// Such as tronk.report
    #[arg(long)]
    pub kind: Option<String>,
    #[arg(long)]
    pub tag: Option<String>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub enum CallbacksCommand {
    /// Give a call-back to a job
    Assign {
        /// The call-back's number
        #[arg(value_name = "ID", value_parser = number)]
        id: i64,
        /// The job's number
        #[arg(value_name = "JOB", value_parser = number)]
        job: i64,
    },
}

#[derive(Debug, Clone, Args)]
pub struct WebhooksArgs {
    #[command(subcommand)]
    pub command: Option<WebhooksCommand>,
}

#[derive(Debug, Clone, Subcommand)]
pub enum WebhooksCommand {
    /// List what was delivered, what waits and what was given up, the newest first
    Deliveries {
        #[arg(value_name = "NAME")]
        name: String,
        /// pending, delivered or dead
        #[arg(long, value_parser = ["pending", "delivered", "dead"])]
        state: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1000))]
        limit: u64,
    },
    /// Tell it again of everything from an event on; a number further on skips what lies before
    Replay {
        #[arg(value_name = "NAME")]
        name: String,
        /// The first event's number
        #[arg(long, value_name = "SEQ", value_parser = number)]
        from: i64,
    },
    /// Send it one event again, whatever its filter says
    Resend {
        #[arg(value_name = "NAME")]
        name: String,
        /// The event's id (the webhook-id), or its number
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Send it an event that never happened, and say what came of it; the exit code is 1 when it was not taken
    Test {
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Let a disabled one go on; what waits goes out at once
    Enable {
        #[arg(value_name = "NAME")]
        name: String,
    },
}

#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// A job's number; or a code that opros has shown, such as no_answer, account_paused or exit-13. Without it: all codes
    #[arg(value_name = "ID|CODE")]
    pub what: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct ManArgs {
    /// Write opros.1, a page for each command and opros.toml.5 here
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Args)]
pub struct JobArg {
    /// The job's number
    #[arg(value_name = "ID", value_parser = number)]
    pub id: i64,
}

#[derive(Debug, Clone, Args)]
pub struct WatchArgs {
    /// Start after this event's number instead of now; 0 replays all that is kept
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(i64).range(0..))]
    pub after: Option<i64>,
    /// Only jobs of this kind (tronk.report, or all of tronk); can be given again
    #[arg(long)]
    pub kind: Vec<String>,
    /// Only events of this type (job.succeeded, or all of account); can be given again
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<String>,
    /// Remember in this file how far it came, and go on from there; --after counts only while there is no such file
    #[arg(long, value_name = "FILE")]
    pub cursor: Option<PathBuf>,
    /// With --exec: go on with the next event when the program fails [default: stop, and exit with 6]
    #[arg(long, requires = "exec")]
    pub keep_going: bool,
    /// Run this program for every event, one after another, with the event as JSON on its standard input; the last option
    #[arg(long, value_name = "PROGRAM [ARGS]", num_args = 1.., allow_hyphen_values = true)]
    pub exec: Vec<String>,
}

#[derive(Debug, Clone, Args)]
pub struct WaitArgs {
    #[arg(required = true, value_name = "ID", value_parser = number)]
    pub ids: Vec<i64>,
    /// Wait at most this long, such as 90s or 2h; then the exit code is 15
    #[arg(long, value_name = "DURATION", value_parser = span)]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Clone, Args)]
pub struct CancelArgs {
    #[arg(required = true, value_name = "ID", value_parser = number)]
    pub ids: Vec<i64>,
}

#[derive(Debug, Clone, Args)]
pub struct RetryArgs {
    #[command(flatten)]
    pub job: JobArg,
    /// Also when the job succeeded: it is paid for once more
    #[arg(long)]
    pub force: bool,
    /// Also while an earlier retry of the job is unfinished
    #[arg(long)]
    pub again: bool,
    /// The retry's own token: asking again with it orders nothing [default: a random one]
    #[arg(long, value_name = "TOKEN")]
    pub uid: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct ResolveArgs {
    #[command(flatten)]
    pub job: JobArg,
    #[command(flatten)]
    pub how: Resolution,
    /// The decision's own token: it is carried out once [default: a random one]
    #[arg(long, value_name = "TOKEN")]
    pub uid: Option<String>,
}

#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct Resolution {
    /// The vendor does not have it: send it again
    #[arg(long)]
    pub resubmit: bool,
    /// The vendor has it, under this id
    #[arg(long, value_name = "REMOTE_ID")]
    pub adopt: Option<String>,
    /// Give the job up
    #[arg(long)]
    pub fail: bool,
}

#[derive(Debug, Clone, Args)]
pub struct PauseArgs {
    #[command(flatten)]
    pub account: AccountArg,
    /// Why, for whoever looks next
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    /// A file that is not there yet
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// A file that `opros backup` made
    #[arg(value_name = "FILE", required_unless_present = "moved")]
    pub file: Option<PathBuf>,
    /// Accept the store in place as moved here whole; the original must be gone
    #[arg(long, conflicts_with = "file")]
    pub moved: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportSort {
    Jobs,
    Events,
    /// Every order of the ledger: when, for which job, at what price, how sure
    Costs,
}

impl ExportSort {
    pub const fn as_str(self) -> &'static str {
        match self {
            ExportSort::Jobs => "jobs",
            ExportSort::Events => "events",
            ExportSort::Costs => "costs",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    Ndjson,
    Csv,
}

impl ExportFormat {
    pub const fn as_str(self) -> &'static str {
        match self {
            ExportFormat::Ndjson => "ndjson",
            ExportFormat::Csv => "csv",
        }
    }
}

#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    #[arg(value_name = "WHAT", value_enum)]
    pub what: ExportSort,
    #[arg(long, value_enum, default_value = "ndjson")]
    pub format: ExportFormat,
    /// From this time on: RFC 3339, or how long ago, such as 30d
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    pub since: Option<Moment>,
    /// In CSV, leave cells that a spreadsheet takes for formulas as they are
    #[arg(long)]
    pub raw: bool,
}

#[derive(Debug, Clone, Args)]
pub struct PurgeArgs {
    /// The job's number; can be given again
    #[arg(long, required = true, value_name = "ID", value_parser = number)]
    pub job: Vec<i64>,
}

#[derive(Debug, Clone, Args)]
pub struct AccountArg {
    /// The account's name
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// Of a job, an event or a call-back.
fn number(text: &str) -> Result<i64, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "must be a number from 1 on, such as 812".to_owned())
}

/// `KEY=VALUE`. A parser of its own, for clap would repeat what cannot be read, and that may hold a secret.
#[derive(Debug, Clone)]
struct SettingParser;

impl TypedValueParser for SettingParser {
    type Value = (String, String);

    fn parse_ref(&self, cmd: &clap::Command, _: Option<&clap::Arg>, text: &OsStr) -> Result<Self::Value, clap::Error> {
        let pair = text.to_str().and_then(|text| text.split_once('='));
        let read = pair.map(|(key, value)| (key.trim().to_owned(), value.to_owned()));
        let words = "--set must be followed by KEY=VALUE, such as log.filter=debug; what was given is not shown, for it may hold \
                     a secret\n";
        read.ok_or_else(|| clap::Error::raw(clap::error::ErrorKind::ValueValidation, words).with_cmd(cmd))
    }
}

fn speed(text: &str) -> Result<f64, String> {
    let wrong = || "must be a number between 0.001 and 1000000".to_owned();
    text.parse().ok().filter(|speed| (0.001..=1e6).contains(speed)).ok_or_else(wrong)
}

fn span(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}
