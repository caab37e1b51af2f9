//! `opros simulate` as somebody uses it who follows the pages: its output is a file of accounts, and every vendor answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Facts are waited for this long.
const PATIENCE: Duration = Duration::from_secs(60);

struct Simulator(Child);

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it with its accounts in a file; returns the address once it has told all.
fn simulate(accounts: &Path, more: &[&str]) -> (Simulator, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_opros"))
        .args(["simulate", "--listen", "127.0.0.1:0", "--speed", "100000"])
        .args(more)
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(accounts).unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let told = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut address = String::new();
    for line in told.map(Result::unwrap) {
        if let Some(rest) = line.strip_prefix("The vendors play at http://") {
            address = rest.split(',').next().unwrap().to_owned();
        }
        if line.starts_with("VagVin delivers") {
            break;
        }
    }
    (Simulator(child), address)
}

#[test]
fn what_it_prints_is_a_file_of_accounts() {
    let dir = tempfile::tempdir().unwrap();
    let accounts = dir.path().join("accounts.toml");
    let (_simulator, _) = simulate(&accounts, &[]);
    let made = Command::new(env!("CARGO_BIN_EXE_opros"))
        .args(["init", "--accounts"])
        .arg(&accounts)
        .arg("--dir")
        .arg(dir.path().join("try"))
        .env_remove("OPROS_CONFIG")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(made.status.success(), "{said}\n{}", std::fs::read_to_string(&accounts).unwrap());
    assert!(said.contains("alta: the vendor takes the credentials"), "{said}");
    let config = std::fs::read_to_string(dir.path().join("try/opros.toml")).unwrap();
    for name in ["tronk", "alta", "rlab", "vagvin"] {
        assert!(config.contains(&format!("[accounts.{name}]")), "{name}");
    }
}

#[test]
fn vagvin_delivers_where_it_was_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/callbacks/cars/secret-end", receiver.local_addr().unwrap());
    let (_simulator, address) = simulate(&dir.path().join("accounts.toml"), &["--callbacks", &url]);
    let account = std::fs::read_to_string(dir.path().join("accounts.toml")).unwrap();
    let token = account.lines().find_map(|line| line.strip_prefix("token = \"")?.strip_suffix('"')).unwrap();
    let body = format!(
        "{{\"token\":\"{token}\",\"vin\":\"WVWZZZ1KZAW123456\",\"check_type\":\"check_elsa_pro_full\",\"car_brand\":\"SKODA\",\
         \"report_language\":\"Русский\"}}"
    );
    let mut order = TcpStream::connect(&address).unwrap();
    order.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        order,
        "POST /vagvin/api/processing_queue HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    order.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (mut delivery, _) = receiver.accept().unwrap();
    delivery.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut line = String::new();
    BufReader::new(&mut delivery).read_line(&mut line).unwrap();
    assert_eq!(line, "POST /callbacks/cars/secret-end HTTP/1.1\r\n", "{answer}");
    let _ = write!(delivery, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}
