//! What cannot be said by a whole answer: bytes on the wire, through the real client and the whole engine.
//!
//! Each exchange meets a submit, a poll and a look-up at a server that plays nobody. Whatever it answers, the order is sent
//! once; only what the contract calls "not taken" is sent again.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use opros::domain::State;
use opros::simulator::SimConfig;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{TestDaemon, minutes, seconds};

/// What a submit comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Submit {
    /// It stays in doubt.
    Doubt,
    /// Provably not taken: queued, and sent again later.
    Again,
    /// Taken by its id.
    Taken,
}
use Submit::{Again, Doubt, Taken};

const WELL: &str = r#"{"error":null,"status":0,"id":123}"#;

/// Status line and headers as they are, then the body.
fn plain(head: &str, body: &[u8]) -> Vec<u8> {
    let mut all = head.replace('\n', "\r\n").into_bytes();
    all.extend_from_slice(b"\r\n\r\n");
    all.extend_from_slice(body);
    all
}

fn sized(status: &str, more: &str, body: &[u8]) -> Vec<u8> {
    plain(&format!("HTTP/1.1 {status}\nContent-Length: {}{more}", body.len()), body)
}

fn gzip(body: &[u8], times: usize) -> Vec<u8> {
    // `gzip` of the system: no crate is needed to make a bomb.
    let mut child = std::process::Command::new("gzip")
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let body = body.to_vec();
    let writer = std::thread::spawn(move || (0..times).for_each(|_| input.write_all(&body).unwrap()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.stdout
}

/// Name, bytes (the connection closes behind them), and what they mean to a submit of Tronk.
fn exchanges() -> Vec<(&'static str, Vec<u8>, Submit)> {
    let well = WELL.as_bytes();
    let bomb = gzip(&[0; 1 << 20], 64);
    let zipped = gzip(well, 1);
    let chunked = "HTTP/1.1 200 OK\nTransfer-Encoding: chunked";
    let many = |line: &str, count: usize| line.repeat(count);
    vec![
        ("well", sized("200 OK", "", well), Taken),
        ("well, zipped", sized("200 OK", "\nContent-Encoding: gzip", &zipped), Taken),
        ("well, chunked", plain(chunked, format!("{:x}\r\n{WELL}\r\n0\r\n\r\n", WELL.len()).as_bytes()), Taken),
        ("well, until the end", plain("HTTP/1.0 200 OK", well), Taken),
        ("well, behind 103", [plain("HTTP/1.1 103 Early Hints", b""), sized("200 OK", "", well)].concat(), Taken),
        ("nothing", Vec::new(), Doubt),
        ("rubbish", b"\x16\x03\x01\x00\x00".to_vec(), Doubt),
        ("no HTTP", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), Doubt),
        ("HTTP/0.9", well.to_vec(), Doubt),
        ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), Doubt),
        ("half a status line", b"HTTP/1.1 20".to_vec(), Doubt),
        ("status of letters", plain("HTTP/1.1 abc OK\nContent-Length: 0", b""), Doubt),
        ("status 99", plain("HTTP/1.1 99 OK\nContent-Length: 0", b""), Doubt),
        ("status 1000", plain("HTTP/1.1 1000 OK\nContent-Length: 0", b""), Doubt),
        ("headers without an end", b"HTTP/1.1 200 OK\r\nA: b\r\n".to_vec(), Doubt),
        // What curl and browsers pass over says nothing about the order.
        ("a header without a colon", plain("HTTP/1.1 200 OK\nnonsense", well), Taken),
        // Browsers refuse it as well.
        ("NUL in a header", plain("HTTP/1.1 200 OK\nA: b\0c", well), Doubt),
        ("a blank before the colon", sized("200 OK", "\nX-Powered-By : x", well), Taken),
        ("tabs before the colon", sized("200 OK", "\nX-Powered-By\t\t:x", well), Taken),
        ("a folded header", sized("200 OK", "\nX-Long: a\n b\n\tc", well), Taken),
        ("a folded type", sized("200 OK", "\nContent-Type: text/html;\n charset=utf-8", well), Taken),
        ("a blank in a name", sized("200 OK", "\nX Powered By: x", well), Taken),
        ("a bracket in a name", sized("200 OK", "\nX(1): x", well), Taken),
        ("a header without a name", sized("200 OK", "\n: x", well), Taken),
        ("a header beyond ASCII", sized("200 OK", "\nЗаголовок: да", well), Taken),
        ("a value beyond ASCII", sized("200 OK", "\nX-By: Сервер", well), Taken),
        ("a blank before the length's colon", plain("HTTP/1.1 200 OK\nContent-Length : 34", well), Taken),
        ("a bad header, and cut", plain("HTTP/1.1 200 OK\nX Y: z", &well[..20]), Doubt),
        (
            "an odd header, and cut",
            sized("200 OK", "\nX-Powered-By : x", well)[..].split_last().unwrap().1.to_vec(),
            Doubt,
        ),
        ("a thousand headers", plain(&format!("HTTP/1.1 200 OK{}", many("\nA: b", 1_000)), well), Doubt),
        ("a header of a megabyte", plain(&format!("HTTP/1.1 200 OK\nA: {}", many("x", 1 << 20)), well), Doubt),
        ("1xx without end", many("HTTP/1.1 100 Continue\r\n\r\n", 5_000).into_bytes(), Doubt),
        ("101", plain("HTTP/1.1 101 Switching Protocols\nUpgrade: x\nConnection: upgrade", b""), Doubt),
        ("cut by one byte", sized("200 OK", "", well)[..].split_last().unwrap().1.to_vec(), Doubt),
        ("a longer length", plain("HTTP/1.1 200 OK\nContent-Length: 999", well), Doubt),
        ("a shorter length", plain("HTTP/1.1 200 OK\nContent-Length: 20", well), Doubt),
        ("two lengths", plain("HTTP/1.1 200 OK\nContent-Length: 34\nContent-Length: 3", well), Doubt),
        ("a negative length", plain("HTTP/1.1 200 OK\nContent-Length: -1", well), Doubt),
        ("an endless length", plain("HTTP/1.1 200 OK\nContent-Length: 99999999999999999999", well), Doubt),
        ("a length of 16 EiB", plain("HTTP/1.1 200 OK\nContent-Length: 18446744073709551615", well), Doubt),
        ("chunks without an end", plain(chunked, format!("{:x}\r\n{WELL}\r\n", WELL.len()).as_bytes()), Doubt),
        ("chunk size of letters", plain(chunked, b"zz\r\n{}\r\n0\r\n\r\n"), Doubt),
        ("chunk size too large", plain(chunked, b"ffffffffffffffff0\r\n{}"), Doubt),
        ("a chunk that is longer", plain(chunked, format!("3\r\n{WELL}\r\n0\r\n\r\n").as_bytes()), Doubt),
        ("gzip that is none", sized("200 OK", "\nContent-Encoding: gzip", well), Doubt),
        ("gzip cut", sized("200 OK", "\nContent-Encoding: gzip", &zipped[..zipped.len() - 4]), Doubt),
        ("gzip bomb", sized("200 OK", "\nContent-Encoding: gzip", &bomb), Doubt),
        ("gzip bomb with 500", sized("500 X", "\nContent-Encoding: gzip", &bomb), Doubt),
        ("brotli", sized("200 OK", "\nContent-Encoding: br", b"\x0b\x02\x80"), Doubt),
        ("17 MiB", sized("200 OK", "", &vec![b' '; 17 << 20]), Doubt),
        ("204", plain("HTTP/1.1 204 No Content", b""), Doubt),
        ("205", plain("HTTP/1.1 205 Reset Content\nContent-Length: 0", b""), Doubt),
        ("304", plain("HTTP/1.1 304 Not Modified", b""), Doubt),
        ("301", sized("301 X", "\nLocation: /elsewhere", b""), Doubt),
        ("307 to itself", sized("307 X", "\nLocation: /reportphone.ashx", b""), Doubt),
        ("308 to another host", sized("308 X", "\nLocation: http://127.0.0.1:9/", b""), Doubt),
        ("308 with a good body", sized("308 X", "\nLocation: /x", well), Doubt),
        ("429", sized("429 X", "", b""), Again),
        ("429, come in a year", sized("429 X", "\nRetry-After: 31536000", b""), Again),
        ("429, come yesterday", sized("429 X", "\nRetry-After: -1", b""), Again),
        ("503", sized("503 X", "\nRetry-After: 1", b""), Again),
        ("503 with a page", sized("503 X", "", b"<html>x</html>"), Again),
        ("500", sized("500 X", "", b""), Doubt),
        ("502 with a page", sized("502 X", "", b"<html>x</html>"), Doubt),
        (
            "UTF-16, and says so",
            sized("200 OK", "\nContent-Type: application/json; charset=utf-16", b"\xff\xfe{\0}\0"),
            Doubt,
        ),
        ("a charset of nobody", sized("200 OK", "\nContent-Type: application/json; charset=\"x-\"", well), Taken),
        ("a cookie of a megabyte", plain(&format!("HTTP/1.1 200 OK\nSet-Cookie: {}", many("x", 1 << 20)), b""), Doubt),
        ("two answers", [sized("200 OK", "", b"{}"), sized("200 OK", "", well)].concat(), Doubt),
    ]
}

/// Answers every connection with the same bytes, and counts those that asked for something.
struct Nobody {
    url: String,
    asked: Arc<AtomicUsize>,
    orders: Arc<AtomicUsize>,
}

/// `orders` are answered with `hostile`, and everything else with `rest`.
async fn nobody(hostile: Vec<u8>, rest: Vec<u8>) -> Nobody {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (asked, orders) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counters = (Arc::clone(&asked), Arc::clone(&orders));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, hostile.clone(), rest.clone(), counters.clone()));
        }
    });
    Nobody { url, asked, orders }
}

async fn serve(
    mut stream: TcpStream,
    hostile: Vec<u8>,
    rest: Vec<u8>,
    (asked, orders): (Arc<AtomicUsize>, Arc<AtomicUsize>),
) {
    let mut buffer = vec![0; 64 << 10];
    let mut request = Vec::new();
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        request.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .to_ascii_lowercase()
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next()?.trim().parse::<usize>().ok());
        if body.len() < length.unwrap_or(0) {
            continue;
        }
        asked.fetch_add(1, Ordering::SeqCst);
        let is_order = text.contains("mode=setqueue") || text.contains("action=add");
        if is_order {
            orders.fetch_add(1, Ordering::SeqCst);
        }
        let _ = stream.write_all(if is_order { &hostile } else { &rest }).await;
        let _ = stream.shutdown().await;
        return;
    }
}

fn tronk(url: &str) -> String {
    format!("[accounts.tronk]\nvendor = \"tronk\"\nbase_url = \"{url}\"\nkey = \"a-key-of-the-exchanges\"\n")
}

async fn daemon(accounts: String) -> TestDaemon {
    TestDaemon::start(|_| accounts, |_: &mut SimConfig| {}).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_answers_a_submit_the_order_is_sent_once_unless_it_was_provably_not_taken() {
    let all = exchanges();
    assert!(all.len() >= 50, "{}", all.len());
    for (name, bytes, means) in all {
        let vendor = nobody(bytes, sized("500 X", "", b"")).await;
        let daemon = daemon(tronk(&vendor.url)).await;
        let job = daemon.submit("tronk.report", json!({ "phone": "79990000111" })).await;
        daemon.settle().await;
        let state = daemon.job(job).await.state;
        let expected = match means {
            Doubt => State::InDoubt,
            Again => State::Queued,
            Taken => State::Waiting,
        };
        assert_eq!(state, expected, "{name}: {:?}", daemon.job(job).await.reason);
        daemon.advance(minutes(30)).await;
        let orders = vendor.orders.load(Ordering::SeqCst);
        assert!(orders == 1 || means == Again, "{name}: sent {orders} times");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_answers_a_poll_or_a_look_up_nothing_is_ordered_again_and_nothing_ends() {
    // A sample: how bytes become an answer, or none, does not depend on the call.
    for (name, bytes, _) in exchanges().into_iter().filter(|(_, _, means)| *means != Taken).step_by(3) {
        // Tronk is polled; Alta, whose order has lost its answer, is looked up.
        let taken = nobody(sized("200 OK", "", WELL.as_bytes()), bytes.clone()).await;
        let lost = nobody(Vec::new(), bytes).await;
        let alta = format!(
            "[accounts.alta]\nvendor = \"alta\"\nbase_url = \"{}\"\nlogin = \"login\"\nsa = \"sa000000\"\npassword = \"password-of-the-exchanges\"\nresubmit = true\n",
            lost.url
        );
        let daemon = daemon(format!("{}{alta}", tronk(&taken.url))).await;
        let polled = daemon.submit("tronk.report", json!({ "phone": "79990000111" })).await;
        let order = json!({ "wagons": ["54676515"], "track_state": "ru", "track_type": 2, "times": ["09:00"] });
        let doubted = daemon.submit("alta.track", order).await;
        daemon.advance(minutes(10) + seconds(1)).await;
        let (polled, doubted) = (daemon.job(polled).await, daemon.job(doubted).await);
        assert_eq!(polled.state, State::Waiting, "{name}: {:?}", polled.reason);
        // A vendor that said 429 to the account's own question is not even asked to take the order.
        let unsent = doubted.submissions == 0;
        assert!(doubted.state == if unsent { State::Queued } else { State::InDoubt }, "{name}: {:?}", doubted.reason);
        assert!(taken.asked.load(Ordering::SeqCst) > 1 && lost.asked.load(Ordering::SeqCst) > usize::from(!unsent));
        let orders = (taken.orders.load(Ordering::SeqCst), lost.orders.load(Ordering::SeqCst));
        assert_eq!(orders, (1, usize::from(!unsent)), "{name}");
    }
}
