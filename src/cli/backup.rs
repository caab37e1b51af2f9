//! `backup`, `export` and `purge`: data out, and data away.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::args::{BackupArgs, ExportArgs, PurgeArgs};
use super::exit::Exit;
use super::failure::Failure;
use super::output::{CARE, GOOD, styled};
use super::{Session, text};

const HASH: &str = "x-opros-sha256";
const PARTIAL: &str = "partial";

fn broken(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::Broken(format!("{what} {}: {error}", path.display()))
}

/// Writes a copy of the store; the file is there whole, or not at all.
pub async fn backup(session: &mut Session<'_>, args: BackupArgs) -> Result<Exit, Failure> {
    let path = args.file.as_path();
    if fs::symlink_metadata(path).is_ok() {
        return Err(Failure::Usage(format!("{} is there already: name a file that is not", path.display())));
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(".");
    partial.push(PARTIAL);
    let partial = Path::new(&partial);
    // Before the copy is made: a directory that cannot be written to is told at once. A link that lies here is not followed.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(partial);
    let file = made.map_err(|error| broken("cannot make", partial, &error))?;
    match fetch(session, file, partial, path).await {
        Ok((bytes, hash)) => {
            if session.term.json {
                let said = json!({ "file": path.display().to_string(), "bytes": bytes, "sha256": hash });
                session.term.say_json(&said.to_string())?;
            } else {
                let path = text::line(&path.display().to_string());
                session.term.say(format!(
                    "{} {path}: {} KiB, checked",
                    styled(GOOD, "Backup"),
                    bytes.div_ceil(1024)
                ))?;
            }
            Ok(Exit::Ok)
        }
        Err(failure) => {
            let _ = fs::remove_file(partial);
            Err(failure)
        }
    }
}

async fn fetch(
    session: &mut Session<'_>,
    mut file: File,
    partial: &Path,
    path: &Path,
) -> Result<(u64, String), Failure> {
    session.term.progress("opros makes a copy and checks it …")?;
    let client = session.client;
    let mut response = client.long(&["v1", "backup"]).await?;
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (expected, total) = (header(HASH), response.content_length().unwrap_or_default());
    let (mut digest, mut bytes) = (Sha256::new(), 0_u64);
    while let Some(piece) = response.chunk().await.map_err(|error| client.failure(error))? {
        file.write_all(&piece).map_err(|error| broken("cannot write", partial, &error))?;
        digest.update(&piece);
        bytes += piece.len() as u64;
        let percent = (bytes * 100).checked_div(total).unwrap_or(100);
        session.term.progress(&format!("{percent} % of {} KiB", total.div_ceil(1024)))?;
    }
    let hash: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if expected.as_deref() != Some(hash.as_str()) {
        return Err(Failure::Broken("what came is not what opros sent: try again".to_owned()));
    }
    file.sync_all().map_err(|error| broken("cannot write", partial, &error))?;
    // A second name, and the first one away: unlike a rename this never replaces a file that appeared meanwhile.
    fs::hard_link(partial, path).map_err(|error| broken("cannot name", path, &error))?;
    fs::remove_file(partial).map_err(|error| broken("cannot remove", partial, &error))?;
    let directory = path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| broken("cannot write", directory, &error))?;
    Ok((bytes, hash))
}

/// To stdout, as it comes.
pub async fn export(session: &mut Session<'_>, args: ExportArgs) -> Result<Exit, Failure> {
    let mut query = vec![("format", args.format.as_str().to_owned())];
    if args.raw {
        query.push(("raw", "true".to_owned()));
    }
    query.extend(args.since.map(|since| ("since", since.before(session.clock.now()).to_rfc3339())));
    let client = session.client;
    let mut response = client.stream(&["v1", "export", args.what.as_str()], &query, "*/*").await?;
    while let Some(piece) = response.chunk().await.map_err(|error| client.failure(error))? {
        session.term.raw(&piece)?;
    }
    session.term.raw_end()?;
    Ok(Exit::Ok)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Purged {
    job: i64,
    observations: u64,
    events: u64,
    callbacks: u64,
    files: u64,
    mailbox_row: bool,
    log_emptied: bool,
}

pub async fn purge(session: &mut Session<'_>, args: PurgeArgs) -> Result<Exit, Failure> {
    for id in &args.job {
        let answer = session.client.post(&["v1", "jobs", &id.to_string(), "purge"], &json!({})).await?;
        if session.term.json {
            session.term.say_json(&answer.body)?;
            continue;
        }
        let Purged { job, observations, events, callbacks, files, mailbox_row, log_emptied } = answer.read()?;
        let row = if mailbox_row { ", its mailbox row" } else { "" };
        session.term.say(format!(
            "Job {job}: {}: params, result, {observations} observations, what {events} events and {callbacks} call-backs \
             said, {files} files{row}. That it was ordered, and whether it was paid, stays.",
            styled(GOOD, "removed")
        ))?;
        if !log_emptied {
            session.term.note(format!(
                "{} somebody reads the store at this moment, and older copies lie in its log until that ends",
                styled(CARE, "note:")
            ))?;
        }
    }
    Ok(Exit::Ok)
}
