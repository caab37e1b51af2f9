//! The accept loop, the way from a request to its vendor, and the one place where faults are acted out.
//!
//! The loop is our own because faults need the bare connection: to close it without an answer, to cut it in the middle,
//! to reset it. And every request runs in its own task, because hyper drops a handler whose client went away, and a
//! vendor whose booking could be dropped like that would hide the very hazard it is here to show.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use bytes::Bytes;
use hyper::body::Incoming as HyperBody;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::call::{Call, Host, Incoming, Params, Reply};
use super::faults::{Effect, Fault};
use super::world::{World, lock};
use super::{bodies, callback, control};
use crate::domain::Timestamp;

/// The largest request that any vendor takes; R-Lab's batches of a hundred are some 60 KiB.
const LARGEST_REQUEST: usize = 4 * 1024 * 1024;
const HEADER_TIME_OUT: Duration = Duration::from_secs(30);

pub async fn accept(world: Arc<World>, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            () = world.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                world.tasks.spawn(serve(world.clone(), stream));
            }
            Err(error) => {
                tracing::warn!(%error, "the simulator could not accept a connection");
                // Out of file descriptors, most likely: give the others time to close theirs.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(world: Arc<World>, stream: TcpStream) {
    // Answers are one write each; waiting to fill a packet would only slow tests down.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let reset = Arc::new(AtomicBool::new(false));
    let wire = Wire { stream, reset: reset.clone() };
    let stop = world.stop.clone();
    let service = service_fn(move |request| in_its_own_task(world.clone(), reset.clone(), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_OUT)
        .serve_connection(TokioIo::new(wire), service);
    tokio::select! {
        () = stop.cancelled() => {}
        // An error is a client that went away, or a fault that was asked for.
        _ = connection => {}
    }
}

/// The service answers with nothing at all: hyper then closes the connection.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed without an answer")]
struct NoAnswer;

/// What the client gets: a response; or nothing and a closed connection; or nothing, ever.
type Outcome = Result<Option<Response<Body>>, NoAnswer>;

async fn in_its_own_task(
    world: Arc<World>,
    reset: Arc<AtomicBool>,
    request: Request<HyperBody>,
) -> Result<Response<Body>, NoAnswer> {
    let task = world.tasks.spawn(handle(world.clone(), reset, request));
    match task.await.unwrap_or(Err(NoAnswer))? {
        Some(response) => Ok(response),
        // Waits here and not in the task, so that it ends with the connection.
        None => std::future::pending().await,
    }
}

async fn handle(world: Arc<World>, reset: Arc<AtomicBool>, request: Request<HyperBody>) -> Outcome {
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(Body::new(body), LARGEST_REQUEST).await else {
        return Ok(Some(plain(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large or was cut")));
    };
    let path = head.uri.path().trim_start_matches('/');
    let Some((prefix, rest)) = path.split_once('/').filter(|(prefix, _)| *prefix != "_sim") else {
        return Ok(Some(control::serve(&world, &head.method, head.uri.path(), &body)));
    };
    let Some(host) = Host::ALL.into_iter().find(|host| host.name() == prefix) else {
        return Ok(Some(respond(Reply::not_found())));
    };
    let incoming = Incoming {
        post: head.method == axum::http::Method::POST,
        path: rest.to_owned(),
        uri: head.uri.to_string(),
        query: Params::parse(head.uri.query().unwrap_or_default().as_bytes()),
        body,
    };
    match World::read(host, &incoming) {
        Some(reading) => {
            let fault = lock(&world.faults).befall(host, &reading);
            let n = world.log.enter(world.clock.now(), host, &reading, fault.as_ref().map(Fault::name));
            let (op, keys) = (reading.op, reading.keys);
            let call = Call { n, host, op, keys, params: reading.params, json: reading.json, incoming };
            carry_out(&world, &reset, Arc::new(call), fault).await
        }
        None => Ok(Some(respond(Reply::not_found()))),
    }
}

async fn carry_out(world: &Arc<World>, reset: &AtomicBool, call: Arc<Call>, fault: Option<Fault>) -> Outcome {
    let Some(fault) = fault else {
        return Ok(Some(respond(process(world, &call).await)));
    };
    let reply = match fault.effect() {
        Effect::Done => Some(process(world, &call).await),
        Effect::DoneLater { after_ms } => {
            let at = world.clock.now() + Duration::from_millis(after_ms);
            world.tasks.spawn(process_at(world.clone(), at, call.clone()));
            None
        }
        Effect::Undone => fault.refusal().map(|refusal| world.refuse(&call, refusal)),
    };
    act_out(world, reset, &call, fault, reply).await
}

async fn process_at(world: Arc<World>, at: Timestamp, call: Arc<Call>) {
    tokio::select! {
        () = world.stop.cancelled() => {}
        () = world.clock.sleep_until(at) => drop(process(&world, &call).await),
    }
}

/// Carries the call out and sends the call-backs that it sets off; the early ones are there before the answer is.
async fn process(world: &Arc<World>, call: &Arc<Call>) -> Reply {
    let mut reply = world.process(call).await;
    for (at, delivery) in reply.later.drain(..) {
        world.tasks.spawn(callback::deliver_at(world.clone(), at, delivery));
    }
    for delivery in reply.early.drain(..) {
        callback::deliver_once(world, &delivery).await;
    }
    reply
}

/// What the client gets to see of a fault. `reply` is the vendor's true answer where the call was carried out.
async fn act_out(world: &World, reset: &AtomicBool, call: &Call, fault: Fault, reply: Option<Reply>) -> Outcome {
    let truth = |reply: Option<Reply>| reply.unwrap_or_else(Reply::not_found);
    let answer = match fault {
        Fault::DropBefore {} | Fault::DropAfter {} | Fault::LateBooking { .. } => return Err(NoAnswer),
        Fault::Rst { .. } => {
            reset.store(true, Ordering::Release);
            return Err(NoAnswer);
        }
        Fault::Hang { .. } => return Ok(None),
        Fault::Slow { ms } => {
            tokio::select! {
                () = world.stop.cancelled() => return Err(NoAnswer),
                () = tokio::time::sleep(Duration::from_millis(ms)) => respond(truth(reply)),
            }
        }
        Fault::BadKey {} | Fault::AccessEnded {} | Fault::NoMoney {} => respond(truth(reply)),
        Fault::Bom {} => with_bom(truth(reply)),
        Fault::Status { code, body, content_type, retry_after, .. } => status(code, body, content_type, retry_after),
        Fault::Redirect { location, code, .. } => redirect(code, location.as_deref().unwrap_or(&call.incoming.uri)),
        Fault::Html { .. } => respond(Reply::new(StatusCode::OK, "text/html; charset=utf-8", MAINTENANCE)),
        Fault::Truncated { clean, .. } => truncated(reply, clean),
        Fault::Empty { .. } => plain(StatusCode::OK, ""),
        Fault::Huge { bytes, .. } => stream(bodies::blanks(bytes), None),
        Fault::GzipBomb { bytes, .. } => stream(bodies::gzip_bomb(bytes), Some("gzip")),
        Fault::Garbage { .. } => respond(Reply::new(StatusCode::OK, "application/json", GARBAGE)),
        Fault::WrongShape { .. } => respond(Reply::new(StatusCode::OK, "application/json", WRONG_SHAPE)),
    };
    Ok(Some(answer))
}

const MAINTENANCE: &str = "<!DOCTYPE html>\n<html><head><title>Технические работы</title></head>\
    <body><h1>Сервис временно недоступен</h1><p>Ведутся технические работы.</p></body></html>\n";
const GARBAGE: &[u8] = b"\xff\xfe\x00\x01\x80\xc3\x28{\"\xf0\x28\x8c\xbc\x00\xed\xa0\x80\x1b[31m\xff";
const WRONG_SHAPE: &str = r#"{"result":[[{"value":{"items":["ok",null,12.5]}}],true]}"#;

fn respond(reply: Reply) -> Response<Body> {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = reply.status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    respond(Reply::new(status, "text/plain; charset=utf-8", text))
}

fn with_bom(reply: Reply) -> Response<Body> {
    let body: Bytes = [b"\xef\xbb\xbf", &reply.body[..]].concat().into();
    respond(Reply { body, ..reply })
}

/// Text from a plan need not be a header value; what is none is left out.
fn set(response: &mut Response<Body>, name: header::HeaderName, value: Option<&str>) {
    if let Some(value) = value.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok()) {
        response.headers_mut().insert(name, value);
    }
}

fn status(code: u16, body: String, content_type: Option<String>, retry_after: Option<String>) -> Response<Body> {
    let mut response = plain(StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), "");
    *response.body_mut() = Body::from(body);
    set(&mut response, header::CONTENT_TYPE, content_type.as_deref());
    set(&mut response, header::RETRY_AFTER, retry_after.as_deref());
    response
}

fn redirect(code: u16, location: &str) -> Response<Body> {
    let mut response = status(code, String::new(), None, None);
    set(&mut response, header::LOCATION, Some(location));
    response
}

fn truncated(reply: Option<Reply>, clean: bool) -> Response<Body> {
    let reply = reply.unwrap_or_else(|| Reply::new(StatusCode::OK, "application/json", r#"{"status":0,"id":1}"#));
    let promised = reply.body.len();
    let start = reply.body.slice(..promised / 2);
    if clean {
        return respond(Reply { body: start, ..reply });
    }
    let mut response = respond(Reply { body: Bytes::new(), ..reply });
    *response.body_mut() = bodies::cut_short(start);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(promised));
    response
}

fn stream(body: Body, encoding: Option<&'static str>) -> Response<Body> {
    let mut response = respond(Reply::new(StatusCode::OK, "application/json", ""));
    *response.body_mut() = body;
    set(&mut response, header::CONTENT_ENCODING, encoding);
    response
}

/// A connection that can be told to end with a reset instead of an orderly close.
#[derive(Debug)]
struct Wire {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Acquire) {
            // With a linger of zero, closing sends RST; a socket that is gone already needs none.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.reset.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
