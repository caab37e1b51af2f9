//! A vendor that answers at once and remembers when it was asked: Tronk and R-Lab, as fast as HTTP goes.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::now_us;

#[derive(Debug, Default)]
pub struct Vendor {
    pub requests: AtomicU64,
    /// Tracks that `gettrackinfo` was asked about.
    pub tracks: AtomicU64,
    /// Whether every look at a track finds something new.
    pub moving: AtomicBool,
    /// Whether it is to remember who asked when.
    pub remembers: AtomicBool,
    seen: Mutex<Seen>,
}

/// Wall clock, in µs, by the subject (a phone) of the request.
#[derive(Debug, Default)]
pub struct Seen {
    pub submits: HashMap<String, u64>,
    pub polls: HashMap<String, u64>,
    pub first: Option<u64>,
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Vendor {
    pub async fn start() -> (Arc<Vendor>, SocketAddr) {
        let vendor = Arc::new(Vendor::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its number");
        let at_work = Arc::clone(&vendor);
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let _ = stream.set_nodelay(true);
                let vendor = Arc::clone(&at_work);
                tokio::spawn(async move {
                    let serve = service_fn(|request| {
                        let vendor = Arc::clone(&vendor);
                        async move { Ok::<_, Infallible>(vendor.answer(request).await) }
                    });
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await;
                });
            }
        });
        (vendor, address)
    }

    /// What it remembers so far; it begins anew.
    pub fn take(&self) -> Seen {
        std::mem::take(&mut *lock(&self.seen))
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let number = self.requests.fetch_add(1, Relaxed);
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default();
        let text = match parts.uri.path() {
            "/addtrack.ashx" => r#"{"resultState":0,"resultInfo":"ok","resultData":null}"#.to_owned(),
            "/gettrackinfo.ashx" => {
                let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                self.tracks_of(&body, number)
            }
            _ => self.report(query, number),
        };
        let mut response = Response::new(Full::from(text));
        let json = hyper::header::HeaderValue::from_static("application/json; charset=utf-8");
        response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
        response
    }

    /// Tronk: the phone is the id of its report, which is ready when it is asked for.
    fn report(&self, query: &str, number: u64) -> String {
        let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let is_submit = value("mode") == Some("setqueue");
        let subject = value(if is_submit { "phone" } else { "id" }).unwrap_or_default();
        if self.remembers.load(Relaxed) {
            let (at, mut seen) = (now_us(), lock(&self.seen));
            seen.first.get_or_insert(at);
            let map = if is_submit { &mut seen.submits } else { &mut seen.polls };
            map.entry(subject.to_owned()).or_insert(at);
        }
        if is_submit {
            return format!(r#"{{"phone":"{subject}","error":null,"status":0,"id":{subject},"msg":0}}"#);
        }
        format!(
            r#"{{"error":null,"status":1,"id":{subject},"msg":"ok","url":"https://tronk.example/{number}","resultJson":"{{\"phone\":\"{subject}\",\"cars\":[]}}"}}"#
        )
    }

    /// R-Lab: every track that was asked for, in one of two places.
    fn tracks_of(&self, body: &[u8], number: u64) -> String {
        const NAME: &str = "\"trackingUserClientTrack\":\"";
        let body = String::from_utf8_lossy(body);
        let moved = if self.moving.load(Relaxed) { number } else { 0 };
        let mut text = String::from(r#"{"resultState":0,"resultInfo":"ok","resultData":["#);
        let mut count = 0;
        for rest in body.split(NAME).skip(1) {
            let track = rest.split('"').next().unwrap_or_default();
            let comma = if count > 0 { "," } else { "" };
            let _ = write!(
                text,
                "{comma}{{\"trackNumber\":\"{track}\",\"trackInfo\":\"Операция:Обработка {moved}\\r\\nДата:24.06.2013 0:00:00\\r\\nМесто \
                 проведения операции:Мытищи СЦ\\r\\nАтрибут операции:Покинуло\\r\\nИндекс:141027\\r\\n\",\"trackMainStatus\":0,\
                 \"trackCreateDate\":\"28.11.2014 12:50:04\",\"trackUpdateDate\":\"27.11.2014 19:54:00\"}}"
            );
            count += 1;
        }
        self.tracks.fetch_add(count, Relaxed);
        text.push_str("]}");
        text
    }
}
