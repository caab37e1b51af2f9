//! Posting a finished report to whoever ordered it, the way VagVin does: no client library, one request, one connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::vagvin::SentCallback;
use super::world::{World, lock};
use crate::domain::Timestamp;

/// On the real clock: a receiver that hangs must not hold up the others for ever.
const TIME_OUT: Duration = Duration::from_secs(20);

/// One call-back, ready to be sent.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub url: String,
    pub content_type: String,
    pub body: Vec<u8>,
    pub vin: String,
    /// The order that it answers; none for a stranger's.
    pub order: Option<String>,
    /// How often it is tried again when nobody says 2xx, and after how long.
    pub retries: u32,
    pub retry_every: Duration,
}

/// Waits on the simulator's clock, sends, and tries again while nobody takes it.
pub async fn deliver_at(world: Arc<World>, mut at: Timestamp, delivery: Delivery) {
    for _ in 0..=delivery.retries {
        tokio::select! {
            () = world.stop.cancelled() => return,
            () = world.clock.sleep_until(at) => {}
        }
        if deliver_once(&world, &delivery).await {
            return;
        }
        at = world.clock.now() + delivery.retry_every;
    }
}

/// Sends once and writes down how it went; true when it was taken.
pub async fn deliver_once(world: &World, delivery: &Delivery) -> bool {
    let sent = tokio::select! {
        () = world.stop.cancelled() => return false,
        sent = tokio::time::timeout(TIME_OUT, post(delivery)) => sent,
    };
    let outcome = sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let (status, error) = match outcome {
        Ok(status) => (Some(status), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let (vin, order, url) = (delivery.vin.clone(), delivery.order.clone(), delivery.url.clone());
    let sent = SentCallback { at: world.clock.now(), vin, order, url, status, error };
    lock(&world.vagvin).sent(sent);
    status.is_some_and(|status| (200..300).contains(&status))
}

async fn post(delivery: &Delivery) -> io::Result<u16> {
    let rest = delivery.url.strip_prefix("http://").ok_or_else(|| io::Error::other("call-backs go to http:// only"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "POST /{path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        delivery.content_type,
        delivery.body.len()
    );
    let message = [head.as_bytes(), &delivery.body].concat();
    stream.write_all(&message).await?;
    let mut answer = Vec::new();
    // The status line is all that matters, and it is in the first bytes of whatever comes.
    while answer.len() < 12 && stream.read_buf(&mut answer).await? > 0 {}
    let status = std::str::from_utf8(&answer).ok().and_then(|line| line.get(9..12)).and_then(|code| code.parse().ok());
    status.ok_or_else(|| io::Error::other("the receiver answered with something that is not HTTP"))
}
