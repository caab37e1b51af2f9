//! The real binary under answers that are made to fill memory: bombs, endless bodies, deep JSON.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use opros::cli::client::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(120);
/// design.md §11: RSS under all limits at once, of the program as it is released.
const MOST: u64 = 128 << 10;
/// What the released program's own pages take of that. A program with its debug information has more of them, and they say
/// nothing about answers.
const OWN_PAGES: u64 = 16 << 10;

fn gzip(of: &[u8], times: usize) -> Vec<u8> {
    use std::io::Write;
    let mut child =
        Command::new("gzip").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("gzip is there");
    let (mut input, of) = (child.stdin.take().unwrap(), of.to_vec());
    let writer = std::thread::spawn(move || (0..times).for_each(|_| input.write_all(&of).unwrap()));
    let output = child.wait_with_output().unwrap().stdout;
    writer.join().unwrap();
    output
}

/// Bodies, each with its headers.
fn bodies() -> Vec<Vec<u8>> {
    let sized = |more: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{more}Connection: close\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    let zipped = "Content-Encoding: gzip\r\n";
    let megabyte = 1 << 20;
    vec![
        sized(zipped, &gzip(&vec![0; megabyte], 256)),
        sized(zipped, &gzip(&b"[0,".repeat(megabyte / 3), 64)),
        sized(zipped, &gzip("{\"a\":".repeat(megabyte / 5).as_bytes(), 15)),
        // Just under the cap: read whole, and parsed.
        sized(zipped, &gzip(&[b"[[0]".as_slice(), &b",[0]".repeat(3 * megabyte), b"]"].concat(), 1)),
        sized(zipped, &gzip(&[b"[{}".as_slice(), &b",{\"\":0}".repeat(2 * megabyte), b"]"].concat(), 1)),
        sized("", &b"[{\"id\":1},".repeat(3 * megabyte / 2)),
        sized("", format!("{{\"error\":null,\"x\":\"{}\"}}", "y".repeat(15 * megabyte)).as_bytes()),
        sized("", &vec![b' '; 40 * megabyte]),
        "HTTP/1.1 200 OK\r\nA: ".to_owned().into_bytes().into_iter().chain(vec![b'x'; 20 * megabyte]).collect(),
    ]
}

async fn vendor(answered: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let bodies = Arc::new(bodies());
    tokio::spawn(async move {
        let mut turn = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            let (bodies, answered) = (Arc::clone(&bodies), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut buffer = vec![0; 16 << 10];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(&bodies[turn % bodies.len()]).await;
                let _ = stream.shutdown().await;
                answered.fetch_add(1, Ordering::SeqCst);
            });
            turn += 1;
        }
    });
    url
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The most memory that the process had at any time beside the program's own pages, in KiB.
fn peak(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.0.id())).unwrap();
    let of = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    of("VmHWM:") - of("RssFile:")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_bounded_under_answers_that_are_made_to_fill_it() {
    const ACCOUNTS: usize = 8;
    const JOBS: usize = 4;
    let answered = Arc::new(AtomicUsize::new(0));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display();
    let mut text = format!(
        "[store]\npath = \"{path}/store/opros.db\"\nallow_network_fs = true\n[mailbox]\npath = \"\"\n\
         [admin]\nsocket = \"{path}/admin.sock\"\n"
    );
    let url = vendor(Arc::clone(&answered)).await;
    for n in 0..ACCOUNTS {
        text += &format!("[accounts.a{n}]\nvendor = \"tronk\"\nbase_url = \"{url}\"\nkey = \"a-key-for-memory\"\n");
    }
    let config = dir.path().join("opros.toml");
    std::fs::write(&config, text).unwrap();
    let mut serve = Command::new(env!("CARGO_BIN_EXE_opros"));
    serve.arg("--config").arg(config).arg("serve").stdout(Stdio::null()).stderr(Stdio::null());
    // As the unit runs it.
    serve.env("MALLOC_ARENA_MAX", "2");
    let daemon = Daemon(serve.spawn().unwrap());
    let client = Client::new(dir.path().join("admin.sock")).unwrap();
    let begun = Instant::now();
    while client.get(&["v1", "health"], &[]).await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "the socket does not answer");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = peak(&daemon);
    for n in 0..ACCOUNTS * JOBS {
        let order = json!({ "kind": "tronk.report", "account": format!("a{}", n % ACCOUNTS),
            "params": { "phone": format!("7999{n:07}") } });
        client.post(&["v1", "jobs"], &order).await.unwrap();
    }
    // The breakers stop the accounts after three bad answers each.
    while answered.load(Ordering::SeqCst) < ACCOUNTS * 3 {
        assert!(begun.elapsed() < PATIENCE, "{} answers", answered.load(Ordering::SeqCst));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    loop {
        let page: Value = client.get(&["v1", "jobs"], &[]).await.unwrap().read().unwrap();
        let jobs = page["jobs"].as_array().unwrap();
        if jobs.iter().all(|job| job["state"] != "submitting") {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "answers are still being read");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let after = peak(&daemon);
    eprintln!(
        "RSS: {} MiB before, at most {} MiB under {} hostile answers",
        before >> 10,
        after >> 10,
        answered.load(Ordering::SeqCst)
    );
    assert!(after < MOST - OWN_PAGES, "{after} KiB");
}
