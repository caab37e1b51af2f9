use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc as channel;
use std::time::Instant;

use reqwest::header::HeaderValue;

use super::*;
use crate::clock::SystemClock;

const NOW: &str = "2026-11-27T12:00:00Z";

fn wait(values: &[&str]) -> Option<u64> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
    }
    retry_after(&headers, Timestamp::parse_rfc3339(NOW).unwrap()).map(|wait| wait.as_secs())
}

/// Whatever asks for no wait asks for nothing: our own backoff holds.
#[test]
fn no_spelling_of_retry_after_asks_for_a_wait_of_nothing() {
    for nothing in [
        "0",
        " 0 ",
        "00",
        "000000000000000000000000",
        "-0",
        "-5",
        "+0",
        "+5",
        "0.0",
        "0.5",
        "1e3",
        "0x10",
        "",
        " ",
        "soon",
        "5, 10",
        "NaN",
        "Wed, 01 Jan 2020 00:00:00 GMT",
        "Wednesday, 01-Jan-20 00:00:00 GMT",
        "Wed Jan  1 00:00:00 2020",
        "Wed, 01 Jan 2020 03:00:00 +0300",
        "Fri, 27 Nov 2026 12:00:00 GMT",
        "Fri, 31 Feb 2027 12:00:00 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
    ] {
        assert_eq!(wait(&[nothing]), None, "{nothing:?}");
        assert_eq!(wait(&[nothing, "7"]), Some(7), "{nothing:?}");
        assert_eq!(wait(&["7", nothing]), Some(7), "{nothing:?}");
    }
    assert_eq!(wait(&[]), None);
}

#[test]
fn a_wait_is_read_in_seconds_and_in_each_form_of_a_date_and_ends_after_a_day() {
    let table: [(&[&str], u64); 11] = [
        (&["1"], 1),
        (&[" 120 "], 120),
        (&["007"], 7),
        (&["5", "90", "30"], 90),
        (&["Fri, 27 Nov 2026 12:02:00 GMT"], 120),
        (&["Friday, 27-Nov-26 12:02:00 GMT"], 120),
        (&["Fri Nov 27 12:02:00 2026"], 120),
        (&["Fri, 27 Nov 2026 15:02:00 +0300"], 120),
        (&["86401"], 86_400),
        (&["99999999999999999999999999"], 86_400),
        (&["Fri, 27 Nov 2099 12:00:00 GMT"], 86_400),
    ];
    for (values, seconds) in table {
        assert_eq!(wait(values), Some(seconds), "{values:?}");
    }
}

fn client(base_url: String, timeout: Duration) -> Client {
    let settings = ClientSettings {
        base_url,
        reserve_url: None,
        timeout,
        masks: Default::default(),
        names: std::sync::Arc::new(crate::guard::SystemNames),
    };
    Client::new(settings, AnswerBudget::default(), SystemClock::shared()).unwrap()
}

fn order() -> Request {
    Request {
        op: "order",
        method: Method::Post,
        host: Host::Primary,
        path: "/".to_owned(),
        query: Vec::new(),
        body: Body::Empty,
    }
}

/// A server that answers its first caller once it is told to, and says when the answer is in the socket.
fn server(answer: &'static [u8]) -> (String, channel::Receiver<()>, channel::Sender<()>, channel::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let ((asked, was_asked), (go, may_go), (answered, was_answered)) =
        (channel::channel(), channel::channel(), channel::channel());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer).unwrap();
        asked.send(()).unwrap();
        may_go.recv().unwrap();
        stream.write_all(answer).unwrap();
        answered.send(()).unwrap();
        // Open until the other side has had enough.
        let _ = stream.read(&mut buffer);
    });
    (url, was_asked, go, was_answered)
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok";

/// Begins `exchange`, then lets nothing of this runtime run until the answer lies in the socket and the time-out has passed.
fn stopped_meanwhile<T>(timeout: Duration, answer: &'static [u8], exchange: impl AsyncFnOnce(String) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (url, was_asked, go, was_answered) = server(answer);
    runtime.block_on(async {
        let mut exchange = std::pin::pin!(exchange(url));
        while was_asked.try_recv().is_err() {
            assert!(futures_util::poll!(&mut exchange).is_pending());
            tokio::task::yield_now().await;
        }
        let begun = Instant::now();
        go.send(()).unwrap();
        was_answered.recv().unwrap();
        // This thread is the whole runtime: while it waits here for nothing, the process stands still.
        let (_never, nothing) = channel::channel::<()>();
        let _ = nothing.recv_timeout(timeout * 2 + Duration::from_secs(1));
        assert!(begun.elapsed() > timeout);
        exchange.await
    })
}

/// A suspended machine, a migrated one, SIGSTOP: the answer that came meanwhile counts, not the timer that ran out.
#[test]
fn an_answer_that_came_while_the_process_stood_still_is_read() {
    for timeout in [Duration::from_millis(100), Duration::from_millis(600)] {
        let received = stopped_meanwhile(timeout, ANSWER, async move |url| {
            client(url, timeout).send(&order(), Some(Call::Submit)).await
        });
        assert_eq!(received.expect("the answer lay in the socket").answer.body, "ok");
        let knocked =
            stopped_meanwhile(timeout, ANSWER, async move |url| client(url, timeout).knock(Host::Primary).await);
        assert_eq!(knocked, Ok(200));
    }
}

#[test]
fn a_wait_ends_when_nobody_answers_and_what_is_ready_is_taken_first() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let begun = Instant::now();
        assert_eq!(patiently(Duration::from_millis(30), std::future::pending::<()>()).await, None);
        assert!(begun.elapsed() >= Duration::from_millis(30));
        assert_eq!(patiently(Duration::ZERO, async { 7 }).await, Some(7));
    });
}
