use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use opros::listener::unix::{self, BindError};
use opros::listener::{self, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::house::House;

/// Waits on facts; this only keeps a broken test from hanging.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it happens soon")
}

async fn read_to_end(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end, too.
    let _ = soon(stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_socket_has_its_mode_and_goes_with_its_listener() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    let socket = unix::bind(&path, 0o640).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left in the directory");
    drop(socket);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_stale_socket_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a killed daemon leaves its file");
    let _socket = unix::bind(&path, 0o600).await.unwrap();
    soon(UnixStream::connect(&path)).await.unwrap();
}

#[tokio::test]
async fn what_is_not_a_dead_socket_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(matches!(unix::bind(&file, 0o600).await, Err(BindError::NotASocket(_))));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");

    let dead = dir.path().join("dead.sock");
    drop(UnixListener::bind(&dead).unwrap());
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&dead, &link).unwrap();
    assert!(matches!(unix::bind(&link, 0o600).await, Err(BindError::NotASocket(_))));

    let live = dir.path().join("live.sock");
    let _listener = UnixListener::bind(&live).unwrap();
    let error = unix::bind(&live, 0o600).await.unwrap_err();
    assert!(error.to_string().contains("another opros answers at"), "{error}");

    let error = unix::bind(&dir.path().join("no/such/a.sock"), 0o600).await.unwrap_err();
    assert!(error.to_string().contains("does not exist"), "{error}");
}

#[tokio::test]
async fn a_successors_socket_is_not_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    let old = unix::bind(&path, 0o600).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let _new = unix::bind(&path, 0o600).await.unwrap();
    drop(old);
    soon(UnixStream::connect(&path)).await.unwrap();
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut() {
    let limits = Limits { header_timeout: Duration::from_millis(100), ..Limits::default() };
    let house = House::with(limits).await;
    let mut silent = UnixStream::connect(house.socket()).await.unwrap();
    let mut slow = UnixStream::connect(house.socket()).await.unwrap();
    slow.write_all(b"GET /v1/health HTTP/1.1\r\nhost: opros\r\nx-").await.unwrap();
    assert_eq!(read_to_end(&mut silent).await, "");
    let answer = read_to_end(&mut slow).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(house.get("/v1/health").await.status, 200);
}

#[tokio::test]
async fn a_body_that_stops_coming_is_a_408() {
    let limits = Limits { body_timeout: Duration::from_millis(100), ..Limits::default() };
    let house = House::with(limits).await;
    let mut stream = UnixStream::connect(house.socket()).await.unwrap();
    let head = "POST /v1/jobs HTTP/1.1\r\nhost: opros\r\nconnection: close\r\ncontent-length: 100\r\n\r\n{\"kind\":";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let mut stream = UnixStream::connect(house.socket()).await.unwrap();
    let line = super::house::PLAIN;
    let head = format!(
        "POST /v1/jobs HTTP/1.1\r\nhost: opros\r\nconnection: close\r\ncontent-type: application/x-ndjson\r\ncontent-length: 999\r\n\r\n{line}\n{line}"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.contains("\"status\":201") && answer.contains("\"line\":2,\"status\":408"), "{answer}");
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let house = House::open().await;
    for bytes in [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"hello\r\n\r\n"] {
        let mut stream = UnixStream::connect(house.socket()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 505"),
            "{answer}"
        );
    }
    let mut stream = UnixStream::connect(house.socket()).await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nhost: opros\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    let _ = stream.write_all(head.as_bytes()).await;
    let answer = read_to_end(&mut stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
}

/// A live stream: a request that is not answered to its end.
async fn watcher(house: &House) -> UnixStream {
    let mut stream = UnixStream::connect(house.socket()).await.unwrap();
    let head = b"GET /v1/events HTTP/1.1\r\nhost: opros\r\naccept: text/event-stream\r\n\r\n";
    stream.write_all(head).await.unwrap();
    soon(stream.readable()).await.unwrap();
    stream
}

#[tokio::test]
async fn over_the_cap_a_connection_waits_while_all_others_are_busy() {
    let house = House::with(Limits { connections: 2, ..Limits::default() }).await;
    let first = watcher(&house).await;
    let _second = watcher(&house).await;
    let third = house.get("/v1/health");
    tokio::pin!(third);
    let waited = tokio::time::timeout(Duration::from_millis(100), third.as_mut()).await;
    assert!(waited.is_err(), "there was no place for it");
    drop(first);
    assert_eq!(soon(third).await.status, 200);
}

#[tokio::test]
async fn silent_connections_make_room_the_longest_silent_first() {
    let house =
        House::with(Limits { connections: 3, header_timeout: Duration::from_secs(3600), ..Limits::default() }).await;
    let mut busy = watcher(&house).await;
    let mut silent = UnixStream::connect(house.socket()).await.unwrap();
    let mut used = UnixStream::connect(house.socket()).await.unwrap();
    let head = b"GET /v1/nothing HTTP/1.1\r\nhost: opros\r\n\r\n";
    used.write_all(head).await.unwrap();
    soon(used.readable()).await.unwrap();
    // All places are taken, and nobody ends. Who never spoke goes first.
    let mut fresh = UnixStream::connect(house.socket()).await.unwrap();
    fresh.write_all(head).await.unwrap();
    soon(fresh.readable()).await.unwrap();
    assert_eq!(read_to_end(&mut silent).await, "");
    // Then who was answered and keeps his connection; who is being answered stays.
    assert_eq!(house.get("/v1/health").await.status, 200);
    let answer = read_to_end(&mut used).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let mut bytes = [0; 4096];
    let count = soon(busy.read(&mut bytes)).await.unwrap();
    assert!(count > 0, "the stream is open");
}

#[tokio::test]
async fn two_hundred_silent_connections_keep_nobody_out() {
    let house =
        House::with(Limits { connections: 16, header_timeout: Duration::from_secs(3600), ..Limits::default() }).await;
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(soon(UnixStream::connect(house.socket())).await.unwrap());
    }
    assert_eq!(soon(house.get("/v1/health")).await.status, 200);
}

/// A stream whose client never reads: everything that the kernel takes is taken, and then it stands still.
async fn stuck(house: &House) -> UnixStream {
    house.events(3000).await;
    let mut stream = UnixStream::connect(house.socket()).await.unwrap();
    let head = b"GET /v1/events?after=0 HTTP/1.1\r\nhost: opros\r\naccept: text/event-stream\r\n\r\n";
    stream.write_all(head).await.unwrap();
    soon(stream.readable()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_reader_that_stands_still_is_cut_and_had_only_a_part() {
    let limits = Limits { connections: 1, write_timeout: Duration::from_millis(200), ..Limits::default() };
    let house = House::with(limits).await;
    let mut stream = stuck(&house).await;
    // The only place becomes free again when the connection has been cut; what was in the kernel can still be read.
    assert_eq!(soon(house.get("/v1/health")).await.status, 200);
    let text = read_to_end(&mut stream).await;
    let last = text.rmatches("\nid: ").count();
    assert!(last > 0 && !text.contains("\nid: 3000\n"), "all {} bytes were buffered for it", text.len());
}

#[tokio::test]
async fn a_reader_that_stands_still_does_not_hold_up_a_stop() {
    let house = House::with(Limits { grace: Duration::from_millis(200), ..Limits::default() }).await;
    let _stream = stuck(&house).await;
    house.stop.cancel();
    soon(house.served).await.unwrap();
}

#[tokio::test]
async fn a_request_under_way_is_answered_after_a_stop() {
    let house = House::open().await;
    let mut stream = UnixStream::connect(house.socket()).await.unwrap();
    let body = super::house::PLAIN;
    let head = format!("POST /v1/jobs HTTP/1.1\r\nhost: opros\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body.as_bytes()[..10]).await.unwrap();
    // An answer to somebody who came later shows that the head was read.
    assert_eq!(house.get("/v1/health").await.status, 200);
    house.stop.cancel();
    stream.write_all(&body.as_bytes()[10..]).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    soon(house.served).await.unwrap();
}

#[tokio::test]
async fn the_same_loop_serves_tcp() {
    let socket = listener::bind_tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let listener::Socket::Tcp(tcp) = &socket else { panic!("a TCP socket") };
    let address = tcp.local_addr().unwrap();
    let router = axum::Router::new().route(
        "/who",
        axum::routing::get(|peer: axum::Extension<listener::Peer>| async move { format!("{:?}", peer.0) }),
    );
    let stop = CancellationToken::new();
    let served = tokio::spawn(listener::serve(socket, router, Limits::default(), stop.clone()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /who HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with(&format!("Tcp({})", stream.local_addr().unwrap())), "{answer}");
    stop.cancel();
    soon(served).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}
