//! What stands before every admin door: a browser that was led here by another page can read and change nothing.
//!
//! A tunnel (`ssh -L`), a loopback port and a name that an attacker points at 127.0.0.1 all put opros within the reach of every
//! page that somebody on this machine opens, and neither the socket's mode nor who runs the browser tells the two apart. What
//! does are headers that a page cannot forge: `Host`, `Origin` and `Sec-Fetch-…`. Programs send none of the last two, and for
//! them only the host counts.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::time::{Duration, Instant};

use super::authority::Authority;
use super::problem::Problem;
use super::who::Who;
use crate::meters::AdminMeters;

/// Refusals are worth a line in the log this often.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// The name that programs on the socket use, and that stands in every example: no resolver knows it.
const OURS: &str = "opros";
/// A header that no form and no simple request can carry.
const REQUEST: HeaderName = HeaderName::from_static("opros-request");
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// One for all doors, so that the log has one pace.
#[derive(Debug, Clone)]
pub struct BrowserGuard {
    /// Names beside the usual ones, in lower case and without a dot at the end.
    hosts: Arc<[String]>,
    meters: AdminMeters,
    told: Arc<Mutex<Told>>,
}

#[derive(Debug, Default)]
struct Told {
    at: Option<Instant>,
    /// Refused since then, and not told of.
    untold: u64,
}

/// Why a request goes no further.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Refusal {
    /// Not a name of this daemon's.
    Host,
    /// Another page sent it.
    CrossSite,
    /// A page of this daemon's would have said `Opros-Request: 1`.
    NotAsked,
    /// What a form can send.
    ContentType(String),
}

impl BrowserGuard {
    pub fn new(hosts: &[String], meters: AdminMeters) -> Self {
        Self { hosts: hosts.into(), meters, told: Arc::default() }
    }

    /// Before everything else of a door, its token included.
    pub fn over(self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self, guarded))
    }

    /// Counted each time, told from time to time.
    fn tell(&self, refusal: &Refusal, who: &Who, request: &Request) {
        self.meters.refuse(if *refusal == Refusal::Host { "host" } else { "origin" });
        // Every change is whole: a panic elsewhere leaves it usable.
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.untold += 1;
        if told.at.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
            let shown = |name| request.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
            tracing::warn!(
                requests = told.untold,
                host = shown(header::HOST).as_deref(),
                origin = shown(header::ORIGIN).as_deref(),
                site = shown(SITE).as_deref(),
                method = request.method().as_str(),
                path = request.uri().path(),
                uid = who.uid,
                address = who.address(),
                "requests refused: sent by a web page of another site, or to a host name that is not one of opros"
            );
            *told = Told { at: Some(Instant::now()), untold: 0 };
        }
    }
}

async fn guarded(State(guard): State<BrowserGuard>, who: Who, request: Request, next: Next) -> Response {
    let Err(refusal) = judge(request.method(), request.uri(), request.headers(), &guard.hosts) else {
        return not_for_others(next.run(request).await);
    };
    guard.tell(&refusal, &who, &request);
    let mut response = refusal.problem(request.headers()).into_response();
    // What was not read of the body is not read.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    not_for_others(response)
}

/// For browsers that send no Sec-Fetch-Site, as all do to an address that is not secure: what a page of another site embeds is not
/// shown, run or framed there.
fn not_for_others(mut response: Response) -> Response {
    let words = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, word) in words {
        response.headers_mut().insert(name, HeaderValue::from_static(word));
    }
    response
}

impl Refusal {
    fn problem(self, headers: &HeaderMap) -> Problem {
        match self {
            Refusal::Host => {
                let host = headers.get(header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()));
                Problem::wrong_host(&host.unwrap_or_default())
            }
            Refusal::CrossSite => Problem::cross_site(
                "a browser sent this on behalf of a page that is not of this address: nothing is answered to such pages, and \
                 nothing is done for them",
            ),
            Refusal::NotAsked => Problem::cross_site(
                "a change that a browser sends needs the header Opros-Request: 1, which no form can carry; programs that \
                 send neither Origin nor Sec-Fetch-Site need none",
            ),
            Refusal::ContentType(found) => {
                Problem::wrong_content_type(&found, "application/json, as every browser must here")
            }
        }
    }
}

/// The whole rule, in the order of docs/operations.md, "Browsers".
fn judge(method: &Method, uri: &Uri, headers: &HeaderMap, hosts: &[String]) -> Result<(), Refusal> {
    let by_browser =
        headers.contains_key(header::ORIGIN) || headers.keys().any(|name| name.as_str().starts_with("sec-fetch-"));
    let addressed = addressed(uri, headers)?;
    let is_ours = |host: &Authority| {
        let name = host.name();
        host.is_ip()
            || name == "localhost"
            || name.ends_with(".localhost")
            || hosts.iter().any(|known| known == name)
            || (name == OURS && !by_browser)
    };
    if !addressed.iter().all(is_ours) {
        return Err(Refusal::Host);
    }
    if !by_browser {
        return Ok(());
    }
    let has_site = headers.contains_key(SITE);
    let same_site = matches!(only(headers, &SITE), Some("same-origin" | "none"));
    if has_site && !same_site && !is_navigation(method, uri, headers) {
        return Err(Refusal::CrossSite);
    }
    // Behind a proxy with TLS the page's scheme is not ours; there the browser's own word about the site is what counts.
    if headers.contains_key(header::ORIGIN) && !is_own(only(headers, &header::ORIGIN), &addressed, has_site) {
        return Err(Refusal::CrossSite);
    }
    if changes(method) { may_change(headers) } else { Ok(()) }
}

/// Where the request says that it goes: its `Host`, and the address in the request line if one stands there. Both have to
/// be good, for it is not known which of them whoever forwarded it went by.
fn addressed(uri: &Uri, headers: &HeaderMap) -> Result<Vec<Authority>, Refusal> {
    let read = |text: Option<&str>| text.and_then(Authority::read).ok_or(Refusal::Host);
    let host = headers.contains_key(header::HOST).then(|| read(only(headers, &header::HOST)));
    let line = uri.authority().map(|authority| read(Some(authority.as_str())));
    host.into_iter().chain(line).collect()
}

/// The value of a header that is given once; two are not reconciled.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok();
    first.filter(|_| values.next().is_none())
}

/// Somebody followed a link, or typed an address: the pages for people hold no data before their own scripts ask for it.
fn is_navigation(method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    let is_page = uri.path() == "/" || uri.path().starts_with("/ui/");
    let is_whole_page = only(headers, &MODE) == Some("navigate") && only(headers, &DEST) == Some("document");
    method == Method::GET && is_page && is_whole_page
}

/// Whether the page that sent this came from the very address that it was sent to.
fn is_own(origin: Option<&str>, addressed: &[Authority], any_scheme: bool) -> bool {
    let Some((scheme, rest)) = origin.and_then(|origin| origin.split_once("://")) else { return false };
    let default = match scheme {
        "http" => 80,
        "https" if any_scheme => 443,
        _ => return false,
    };
    let same = |origin: &Authority, host: &Authority| {
        origin.exact() == host.exact() && origin.port().unwrap_or(default) == host.port().unwrap_or(default)
    };
    Authority::read(rest)
        .is_some_and(|origin| !addressed.is_empty() && addressed.iter().all(|host| same(&origin, host)))
}

/// The rest is answered by 405, or reads.
fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

fn may_change(headers: &HeaderMap) -> Result<(), Refusal> {
    let kind = only(headers, &header::CONTENT_TYPE).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Refusal::ContentType(kind.to_owned()));
    }
    if only(headers, &REQUEST) != Some("1") {
        return Err(Refusal::NotAsked);
    }
    Ok(())
}
