//! Documents that a vendor's result names (Tronk's `url`), fetched into the file store after the job has succeeded.
//!
//! Architecture invariant: a job's result never depends on its document. The wish is committed with the success, each try is
//! counted in the store, and what cannot be had is given up and said so; the job stays succeeded with its address.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use reqwest::Url;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::callbacks::files::{FileError, FileStore, NewFile, StoredFile};
use crate::domain::masking::{Masks, Stream as Masked};
use crate::domain::policy::Growth;
use crate::domain::{JobId, Timestamp};
use crate::engine::Engine;
use crate::http::{Document, Piece};
use crate::store::callbacks::JobFile;
use crate::store::downloads::{DownloadEnd, DownloadOutcome, DueDownload};
use crate::store::{CallRecord, StoreError};

/// The name of this operation in the timeline and in logs.
const OP: &str = "download";
/// 30 s, 1 min, 2 min … 1 h between tries.
const WAITS: Growth = Growth { first: Duration::from_secs(30), factor: 2.0, ceiling: Duration::from_secs(3_600) };
/// After so many the document is given up: some three hours after the report.
const TRIES: u32 = 10;
/// Documents that one look takes up: never more than one connection of an account beside its calls.
const STEP: usize = 512;
const AGAIN: Duration = Duration::from_secs(5);
/// Commits come in crowds; one look serves them all.
const GATHER: Duration = Duration::from_millis(250);
/// What is kept of a document's beginning to tell its kind.
const HEAD: usize = 16;

/// What holds for one account's documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The largest that is kept, in bytes.
    pub most: u64,
    /// The vendor is on this machine (a simulator): its documents may come over plain http from this machine.
    pub loopback: bool,
}

/// A handle; cheap to clone.
#[derive(Debug, Clone)]
pub struct Downloads {
    engine: Engine,
    files: FileStore,
    /// What the configuration says of documents, by account; a reload brings another.
    ways: Arc<watch::Sender<Ways>>,
    /// Put out of whatever is stored.
    masks: Masks,
}

type Ways = Arc<BTreeMap<String, Rules>>;

/// Why a document was not saved.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trouble {
    /// The next try may do better.
    Passing(String),
    /// No try ever will.
    Lasting(String),
}

impl Downloads {
    pub fn new(engine: Engine, files: FileStore, accounts: BTreeMap<String, Rules>, masks: Masks) -> Self {
        Self { engine, files, ways: Arc::new(watch::Sender::new(Arc::new(accounts))), masks }
    }

    /// Goes on by these, as in [`Downloads::new`]. A document that is arriving ends as it began.
    pub fn change(&self, accounts: BTreeMap<String, Rules>) {
        self.files.raise_limit(accounts.values().map(|rules| rules.most).max().unwrap_or_default());
        self.ways.send_replace(Arc::new(accounts));
    }

    /// Fetches what is due until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let (mut commits, mut ways) = (self.engine.store().commits(), self.ways.subscribe());
        while !stop.is_cancelled() {
            commits.mark_unchanged();
            ways.mark_unchanged();
            // A stop waits for no document: what broke off is fetched after the next start.
            let round = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                round = self.round() => round,
            };
            let next = match round {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(error = %error, "documents wait: the store does not answer");
                    Some(self.engine.now() + AGAIN)
                }
            };
            let timer = async {
                match next {
                    Some(at) => self.engine.clock().sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = timer => {}
                _ = ways.changed() => {}
                changed = commits.changed() => match changed {
                    Ok(()) => tokio::time::sleep(GATHER).await,
                    Err(_) => return,
                },
            }
        }
    }

    /// Fetches what is due now; says when something is due next. Where no account keeps documents, what waits goes on waiting.
    pub async fn round(&self) -> Result<Option<Timestamp>, StoreError> {
        if self.ways.borrow().is_empty() {
            return Ok(None);
        }
        let store = self.engine.store();
        let (mut commits, mut busy, mut fetching) = (store.commits(), HashSet::new(), FuturesUnordered::new());
        loop {
            commits.mark_unchanged();
            if !self.engine.is_stopping() {
                for due in store.due_downloads(self.engine.now(), STEP).await? {
                    // One at a time for each account: a slow host holds up nobody else's documents.
                    if busy.insert(due.account.clone()) {
                        fetching.push(async move {
                            let account = due.account.clone();
                            (account, self.fetch(due).await)
                        });
                    }
                }
            }
            if fetching.is_empty() {
                return store.next_download().await;
            }
            tokio::select! {
                Some((account, end)) = fetching.next() => {
                    store.end_download(end).await?;
                    busy.remove(&account);
                }
                // Something came due for another account, perhaps.
                Ok(()) = commits.changed() => tokio::time::sleep(GATHER).await,
                () = self.engine.clock().sleep_until(self.engine.now() + AGAIN) => {}
            }
        }
    }

    async fn fetch(&self, due: DueDownload) -> DownloadEnd {
        let began = self.engine.now();
        let (status, saved) = self.try_once(&due).await;
        let at = self.engine.now();
        let tries = due.tries.saturating_add(1);
        let (word, note, outcome) = match saved {
            Ok(file) => ("saved", None, DownloadOutcome::Saved(file)),
            Err(Trouble::Passing(error)) if tries < TRIES => {
                let due_at = at + WAITS.nth(tries);
                ("failed", Some(error.clone()), DownloadOutcome::Again { error, due_at })
            }
            Err(Trouble::Passing(error)) => {
                let error = format!("{error} (tried {tries} times)");
                ("given_up", Some(error.clone()), DownloadOutcome::GivenUp { error })
            }
            Err(Trouble::Lasting(error)) => ("given_up", Some(error.clone()), DownloadOutcome::GivenUp { error }),
        };
        tell(&due, word, note.as_deref());
        let call = CallRecord {
            account: due.account,
            call: None,
            op: OP,
            job: Some(due.job),
            jobs: 1,
            at: began,
            took: at.since(began),
            status,
            outcome: word.to_owned(),
            note,
        };
        DownloadEnd { job: due.job, at, outcome, call: Some(call) }
    }

    async fn try_once(&self, due: &DueDownload) -> (Option<u16>, Result<JobFile, Trouble>) {
        let lasting = |what: &str| (None, Err(Trouble::Lasting(what.to_owned())));
        let ways = Arc::clone(&self.ways.borrow());
        let Some((rules, runner)) = ways.get(&due.account).copied().zip(self.engine.runner(&due.account)) else {
            return lasting("the account does not download any more (download = false, or it is not configured)");
        };
        let url = match allowed(&due.url, rules.loopback) {
            Ok(url) => url,
            Err(why) => return lasting(&why),
        };
        let (pieces, arriving) = mpsc::channel(4);
        let files = self.files.clone();
        let masking = Masked::new(self.masks.masker());
        let disk = tokio::task::spawn_blocking(move || keep(&files, masking, arriving));
        let fetched = runner.setup().client.fetch(url, rules.most, pieces).await;
        let kept = disk.await.map_err(|_| Trouble::Passing("keeping it panicked; this is a bug of opros".to_owned()));
        match (fetched, kept) {
            (Err(error), _) if error.too_large => (error.status, Err(Trouble::Lasting(error.what))),
            (Err(error), _) => (error.status, Err(Trouble::Passing(error.what))),
            (Ok(document), Err(trouble)) => (Some(document.status), Err(trouble)),
            (Ok(document), Ok(kept)) => (Some(document.status), saved(&document, kept)),
        }
    }
}

fn saved(document: &Document, kept: Result<(StoredFile, Vec<u8>), FileError>) -> Result<JobFile, Trouble> {
    match kept {
        Ok((stored, head)) => Ok(JobFile {
            name: name(document.content_type.as_deref(), &head).to_owned(),
            sha256: stored.hash.to_string(),
            content_type: document.content_type.clone(),
            size: stored.size,
        }),
        Err(error @ FileError::TooLarge { .. }) => Err(Trouble::Lasting(error.to_string())),
        Err(error) => Err(Trouble::Passing(error.to_string())),
    }
}

fn tell(due: &DueDownload, word: &str, note: Option<&str>) {
    let (job, account) = (due.job.0, due.account.as_str());
    match note {
        None => tracing::info!(job, account, "the document behind the report was saved"),
        Some(error) => {
            tracing::warn!(
                job,
                account,
                outcome = word,
                error,
                "the document behind the report was not saved; the job keeps its result"
            );
        }
    }
}

/// Whether a vendor's address may be followed at all, and why not. No address stands in the answer.
fn allowed(text: &str, loopback: bool) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| "the vendor's address is none".to_owned())?;
    if text.contains("***") {
        return Err("the vendor's address holds a secret of ours; it is not followed".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the vendor's address holds a user or a password; it is not followed".to_owned());
    }
    let Some(host) = url.host_str() else { return Err("the vendor's address names no host".to_owned()) };
    // Whatever spelling of an address it was, the parser made it the usual one.
    let here = match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(address) => Some(address.is_loopback()),
        Err(_) => (host == "localhost" || host.ends_with(".localhost")).then_some(true),
    };
    match (url.scheme(), here) {
        ("http" | "https", Some(true)) if loopback => Ok(url),
        // A vendor has a name; a bare address is somebody else's network, or ours.
        ("https", None) => Ok(url),
        ("https", Some(_)) => {
            Err("the vendor's address has a bare IP address for a host; it is not followed".to_owned())
        }
        _ => Err("the vendor's address is not https; it is not followed".to_owned()),
    }
}

/// The name under which the job shows it: ours, after what it is.
fn name(content_type: Option<&str>, head: &[u8]) -> &'static str {
    let kind = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        _ if head.starts_with(b"%PDF-") => "report.pdf",
        _ if head.starts_with(b"PK\x03\x04") => "report.zip",
        "text/html" | "application/xhtml+xml" => "report.html",
        "application/json" => "report.json",
        "text/plain" => "report.txt",
        _ => "report.bin",
    }
}

/// Writes what arrives until its end; broken off, it leaves nothing.
fn keep(
    files: &FileStore,
    mut masked: Masked,
    mut arriving: mpsc::Receiver<Piece>,
) -> Result<(StoredFile, Vec<u8>), FileError> {
    let mut into = Keeping { file: files.begin()?, head: Vec::new() };
    loop {
        match arriving.blocking_recv() {
            Some(Piece::Bytes(bytes)) => into.write(&masked.push(&bytes))?,
            Some(Piece::End) => break,
            None => {
                let source = io::Error::new(io::ErrorKind::UnexpectedEof, "it broke off");
                return Err(FileError::Io { context: "receiving a document", source });
            }
        }
    }
    into.write(&masked.finish())?;
    Ok((into.file.finish()?, into.head))
}

struct Keeping<'a> {
    file: NewFile<'a>,
    head: Vec<u8>,
}

impl Keeping<'_> {
    fn write(&mut self, piece: &[u8]) -> Result<(), FileError> {
        let missing = HEAD.saturating_sub(self.head.len()).min(piece.len());
        self.head.extend_from_slice(&piece[..missing]);
        self.file.write(piece)
    }
}

/// What a person is told of a job's document; none where there is nothing to tell.
pub fn sentence(state: &crate::store::downloads::DownloadState, job: JobId, now: Timestamp) -> String {
    let error = state.error.as_deref().unwrap_or("it was not tried yet");
    match (state.saved, state.due_at) {
        (true, _) => format!("Its document is saved: opros show {job} --save DIR."),
        (false, Some(at)) if state.tries == 0 => {
            let when = if at <= now { "now".to_owned() } else { format!("at {at}") };
            format!("Its document is fetched {when}.")
        }
        (false, Some(at)) => format!("Its document could not be fetched yet ({error}); the next try is at {at}."),
        (false, None) => {
            format!("Its document could not be fetched and is given up ({error}); the address stands in the result.")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{allowed, name};

    #[test]
    fn only_named_https_hosts_are_followed_and_this_machine_only_for_a_vendor_on_it() {
        for good in ["https://data.tronk.info/r/1.html", "HTTPS://a.example:8443/x?y=1"] {
            assert!(allowed(good, false).is_ok() && allowed(good, true).is_ok(), "{good}");
        }
        for bad in [
            "http://data.tronk.info/r/1.html",
            "https://127.0.0.1/x",
            "https://[::1]/x",
            "https://2130706433/x",
            "https://0x7f.1/x",
            "https://10.0.0.1/x",
            "https://169.254.169.254/latest",
            "https://localhost/x",
            "https://u:p@a.example/",
            "ftp://a.example/",
            "file:///etc/passwd",
            "/r/1.html",
            "",
            "https://a.example/?key=***",
        ] {
            assert!(allowed(bad, false).is_err(), "{bad}");
        }
        assert!(allowed("http://127.0.0.1:8099/tronk/files/1.html", true).is_ok());
        assert!(allowed("http://10.0.0.1/x", true).is_err() && allowed("http://a.example/", true).is_err());
    }

    #[test]
    fn a_document_is_called_after_what_it_is_and_never_by_its_sender() {
        assert_eq!(name(Some("text/html; charset=utf-8"), b"<!DOCTYPE"), "report.html");
        assert_eq!(name(Some("text/html"), b"%PDF-1.7"), "report.pdf");
        assert_eq!(name(None, b""), "report.bin");
    }

    proptest! {
        #[test]
        fn whatever_address_comes_nothing_plain_leaves_this_machine(text in r"[a-z]{0,6}:?/{0,3}[\PC]{0,60}") {
            if let Ok(url) = allowed(&text, false) {
                prop_assert_eq!(url.scheme(), "https");
                prop_assert!(url.domain().is_some());
            }
        }
    }
}
