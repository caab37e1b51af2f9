//! The one accept loop for everything that opros serves: the admin socket and the call-backs' TCP port.
//!
//! `axum::serve` has no header time-out, no cap and no end while a stream is open (reliability.md, 0.9), so the
//! connections are driven here: HTTP/1.1 only, heads and bodies must keep moving, a peer that does not read is cut, and a
//! stop ends within the grace period whatever the clients do.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub mod body;
mod guard;
mod places;
pub mod secret;
pub mod unix;

use self::body::TimedBody;
use self::guard::WriteGuard;
use self::places::{Place, Places};
use self::unix::UnixSocket;
use crate::crash;
use crate::meters::ListenerMeters;

/// The head of a request, and how much of an answer is buffered before its source is asked for more.
const BUFFER: usize = 64 << 10;
/// After a failed accept (no file descriptors left), so that the loop does not spin.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// What one listener bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open at a time. Who comes later takes the place of the connection that has been silent longest, or waits while all
    /// are busy.
    pub connections: usize,
    /// From the connection's start, or the end of the request before, to the end of the head.
    pub header_timeout: Duration,
    /// The longest silence while a body is being read.
    pub body_timeout: Duration,
    /// The longest time in which a peer takes nothing of what is ready for it.
    pub write_timeout: Duration,
    /// What requests under way get after a stop.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(60),
            grace: Duration::from_secs(5),
        }
    }
}

/// Who is at the other end; an extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Unix { uid: u32, gid: u32, pid: Option<i32> },
    Tcp(SocketAddr),
}

impl Peer {
    /// The user, where the kernel vouches for one.
    pub fn uid(&self) -> Option<u32> {
        match self {
            Peer::Unix { uid, .. } => Some(*uid),
            Peer::Tcp(_) => None,
        }
    }
}

/// A bound socket.
#[derive(Debug)]
pub enum Socket {
    Unix(UnixSocket),
    Tcp(TcpListener),
}

type Stream = Either<UnixStream, TcpStream>;

impl Socket {
    /// The port that was really taken, of a TCP socket.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match self {
            Socket::Unix(_) => None,
            Socket::Tcp(listener) => listener.local_addr().ok(),
        }
    }

    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Socket::Unix(socket) => {
                let stream = socket.accept().await?;
                let credentials = stream.peer_cred()?;
                let peer = Peer::Unix { uid: credentials.uid(), gid: credentials.gid(), pid: credentials.pid() };
                Ok((Either::Left(stream), peer))
            }
            Socket::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Answers are small and whole: waiting to fill a packet only costs time. A peer that is gone already does
                // not matter here.
                let _ = stream.set_nodelay(true);
                Ok((Either::Right(stream), Peer::Tcp(address)))
            }
        }
    }
}

/// Binds a TCP port.
pub async fn bind_tcp(address: SocketAddr) -> io::Result<Socket> {
    TcpListener::bind(address).await.map(Socket::Tcp).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot listen on {address}: {error}; is another program listening there?"),
        )
    })
}

/// Serves until `stop`, then lets requests under way end within the grace period. The Unix socket's file is gone as soon
/// as nothing new is accepted. Handlers of endless streams hold the same `stop` and end with it.
pub async fn serve(socket: Socket, router: Router, limits: Limits, stop: CancellationToken) {
    serve_metered(socket, router, limits, ListenerMeters::default(), stop).await;
}

/// The same, with its connections counted.
pub async fn serve_metered(
    socket: Socket,
    router: Router,
    limits: Limits,
    meters: ListenerMeters,
    stop: CancellationToken,
) {
    meters.connections_limit.set(limits.connections as i64);
    let places = Places::new(limits.connections, meters);
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    while let Some((stream, peer, place)) = next(&socket, &places, &stop).await {
        let connection =
            Connection { router: router.clone(), limits, place: Arc::new(place), stop: stop.clone(), cut: cut.clone() };
        connections.spawn(crash::watched("listener.connection", connection.run(stream, peer)));
    }
    drop(socket);
    connections.close();
    if tokio::time::timeout(limits.grace, connections.wait()).await.is_err() {
        tracing::info!(connections = connections.len(), "closing connections that did not end by themselves");
        cut.cancel();
        connections.wait().await;
    }
}

/// The next connection, once there is a place for it; none after `stop`.
async fn next(socket: &Socket, places: &Places, stop: &CancellationToken) -> Option<(Stream, Peer, Place)> {
    let (stream, peer) = loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => break accepted,
            // The peer left before it was its turn.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {
            }
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        place = places.take() => Some((stream, peer, place)),
    }
}

struct Connection {
    router: Router,
    limits: Limits,
    place: Arc<Place>,
    stop: CancellationToken,
    /// The grace period is over.
    cut: CancellationToken,
}

impl Connection {
    async fn run(self, stream: Stream, peer: Peer) {
        let limits = self.limits;
        let router = TowerToHyperService::new(self.router);
        let place = Arc::clone(&self.place);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let keep_busy = place.begin();
            let mut request = request.map(|body| Body::new(TimedBody::new(body, limits.body_timeout)));
            request.extensions_mut().insert(peer);
            let answer = router.call(request);
            async move { answer.await.map(|response| response.map(keep_busy)) }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout).max_buf_size(BUFFER);
        let io = TokioIo::new(WriteGuard::new(stream, limits.write_timeout, Arc::clone(&self.place.stuck)));
        let mut connection = std::pin::pin!(http.serve_connection(io, service));
        let mut ending = false;
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(error = %error, "a connection broke off");
                    }
                    return;
                }
                () = self.stop.cancelled(), if !ending => {
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = self.place.leave.cancelled(), if !ending => {
                    if self.place.is_silent() {
                        return;
                    }
                    // A request came in the last moment: it is answered.
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = self.cut.cancelled() => return,
            }
        }
    }
}
