//! `opros init` without a terminal, against the played vendors.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use opros::simulator::{SimConfig, Simulator};

fn opros(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_opros"))
        .args(arguments)
        .env_remove("OPROS_CONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // One that refuses before it reads has closed it.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("its end")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn accounts(simulator: &Simulator, password: &str) -> String {
    let sim = SimConfig::default();
    let (tronk, alta, vagvin) = (simulator.base_url("tronk"), simulator.base_url("alta"), simulator.base_url("vagvin"));
    format!(
        "# ours\n[accounts.tronk]\nvendor = \"tronk\"\nbase_url = \"{tronk}\"\nkey = \"{}\"\n\n\
         [accounts.rails]\nvendor = \"alta\" # the customs broker's\nbase_url = \"{alta}\"\nlogin = \"{}\"\nsa = \"{}\"\n\
         password = \"{password}\"\n\n[accounts.vagvin]\nvendor = \"vagvin\"\nbase_url = \"{vagvin}\"\ntoken = \"{}\"\n\
         callback_secret = \"a-long-one-of-ours\"\n",
        sim.tronk.key, sim.alta.login, sim.alta.sa, sim.vagvin.token
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_written_with_its_secrets_apart_and_nothing_is_paid() {
    let simulator = Simulator::start(SimConfig::default()).await.expect("the vendors play");
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("try");
    let place = dir.to_str().unwrap();
    let good = accounts(&simulator, &SimConfig::default().alta.password);

    let refused = opros(&["init", "--dir", place, "--accounts", "-"], &accounts(&simulator, "wrong-password"));
    assert_eq!(refused.status.code(), Some(5), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("Nothing was written") && !dir.exists());

    let made = opros(&["init", "--dir", place, "--accounts", "-"], &good);
    let said = text(&made.stderr);
    assert_eq!(made.status.code(), Some(0), "{said}");
    assert!(said.contains("rails: the vendor takes the credentials"), "{said}");
    assert!(said.contains("tronk: not tried: this vendor has no free call"), "{said}");
    assert!(simulator.ledger().is_empty());
    let (config, secret) = (dir.join("opros.toml"), dir.join("secrets/rails.password"));
    let written = std::fs::read_to_string(&config).unwrap();
    assert_eq!((mode(&config), mode(&secret), mode(&dir.join("secrets"))), (0o600, 0o600, 0o700));
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), format!("{}\n", SimConfig::default().alta.password));
    assert!(written.contains("# the customs broker's") && written.contains("password_file"), "{written}");
    for secret in [SimConfig::default().tronk.key, SimConfig::default().vagvin.token] {
        assert!(!written.contains(&secret) && !said.contains(&secret));
    }
    let checked = opros(&["config", "check", "--config", config.to_str().unwrap()], "");
    assert_eq!(text(&checked.stdout), "The configuration is sound: rails, tronk, vagvin\n");

    let again = opros(&["init", "--dir", place, "--accounts", "-"], &good);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("is there already") && text(&again.stderr).contains("--force"));
    let forced = opros(&["init", "--dir", place, "--accounts", "-", "--force", "--no-test"], &good);
    assert_eq!(forced.status.code(), Some(0), "{}", text(&forced.stderr));
    assert_eq!(std::fs::read_to_string(dir.join("opros.toml.old")).unwrap(), written);
}

#[test]
fn what_cannot_be_accounts_is_refused_with_its_place() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path().join("try");
    let table = [
        ("", "no account"),
        ("[accounts.x", "not TOML"),
        ("[log]\nfilter = \"info\"\n[accounts.x]\nvendor = \"tronk\"\nkey = \"k\"\n", "only accounts are taken"),
        ("[accounts.x]\nvendor = \"trunk\"\n", "accounts:2: accounts.x.vendor"),
        ("[accounts.x]\nvendor = \"tronk\"\nkee = \"hush-hush\"\n", "did you mean \"key\""),
    ];
    for (input, words) in table {
        let ran = opros(&["init", "--dir", place.to_str().unwrap(), "--accounts", "-", "--no-test"], input);
        let said = text(&ran.stderr);
        assert_eq!(ran.status.code(), Some(2), "{input}: {said}");
        assert!(said.contains(words) && !said.contains("hush-hush"), "{input}: {said}");
    }
    let asked = opros(&["init", "--dir", place.to_str().unwrap()], "");
    assert!(text(&asked.stderr).contains("no terminal to ask on"));
    assert!(!place.exists());
}
