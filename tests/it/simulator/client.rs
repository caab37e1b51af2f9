//! A client that sees everything: what came, whether it was whole, and how the connection ended.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Debug)]
pub struct Answer {
    /// 0 when the connection ended before a status line.
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// Whether all that was promised came.
    pub whole: bool,
    pub reset: bool,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {} {}", self.status, String::from_utf8_lossy(&self.body)))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    pub fn is_nothing(&self) -> bool {
        self.status == 0 && self.body.is_empty()
    }
}

pub async fn get(addr: SocketAddr, path: &str) -> Answer {
    send(addr, "GET", path, "", b"").await
}

pub async fn post(addr: SocketAddr, path: &str, content_type: &str, body: &[u8]) -> Answer {
    send(addr, "POST", path, content_type, body).await
}

pub async fn put(addr: SocketAddr, path: &str, body: &str) -> Answer {
    send(addr, "PUT", path, "application/json", body.as_bytes()).await
}

pub async fn send(addr: SocketAddr, method: &str, path: &str, content_type: &str, body: &[u8]) -> Answer {
    let mut stream = begin(addr, method, path, content_type, body).await;
    let mut received = Vec::new();
    let ended = stream.read_to_end(&mut received).await;
    let reset = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
    read(&received, reset)
}

/// Sends a request and leaves the answer to the caller.
pub async fn begin(addr: SocketAddr, method: &str, path: &str, content_type: &str, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let kind = if content_type.is_empty() { String::new() } else { format!("Content-Type: {content_type}\r\n") };
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {addr}\r\n{kind}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    stream
}

fn read(received: &[u8], reset: bool) -> Answer {
    let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Answer { status: 0, head: String::new(), body: received.to_vec(), whole: false, reset };
    };
    let head = String::from_utf8(received[..end].to_vec()).unwrap();
    let status = head[9..12].parse().unwrap();
    let mut answer = Answer { status, head, body: received[end + 4..].to_vec(), whole: false, reset };
    if answer.header("transfer-encoding") == Some("chunked") {
        (answer.body, answer.whole) = unchunked(&answer.body);
    } else {
        let promised = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        answer.whole = answer.body.len() == promised;
    }
    answer
}

fn unchunked(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        rest = &rest[end + 2..];
        if size == 0 || rest.len() < size + 2 {
            return (body, size == 0);
        }
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
    (body, false)
}
