//! The configuration: what is accepted, what every mistake is told as, and that no secret ever shows.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use opros::config::{AccountKind, CodeMeaning, Config, LogFormat, SHIPPED, Sources, duration, load};
use proptest::prelude::*;
use secrecy::ExposeSecret;

const SECRET: &str = "s3cr3t-canary-0123456789";

const ALL_FOUR: &str = r#"
[accounts.tronk]
vendor = "tronk"
key = "s3cr3t-canary-0123456789"
[accounts.alta]
vendor = "alta"
login = "s3cr3t-canary-0123456789-login"
sa = "s3cr3t-canary-0123456789-sa"
password = "s3cr3t-canary-0123456789-password"
[accounts.rlab]
vendor = "rlab"
user_id = 1
user_key = "s3cr3t-canary-0123456789-key"
[accounts.vagvin]
vendor = "vagvin"
base_url = "https://vagvin.example"
token = "s3cr3t-canary-0123456789-token"
callback_secret = "s3cr3t-canary-0123456789-callback"
"#;

fn loaded(text: &str) -> Config {
    load(&Sources::from_text(text)).unwrap_or_else(|problems| panic!("{problems}"))
}

fn problems(sources: &Sources) -> String {
    load(sources).expect_err("there is a problem").to_string()
}

/// What is said about `text`, as the user reads it.
fn said(text: &str) -> String {
    problems(&Sources::from_text(text))
}

fn with_env(text: &str, env: &[(&str, &str)]) -> Sources {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sources { env, ..Sources::from_text(text) }
}

fn tronk(config: &Config) -> &opros::config::TronkAccount {
    match &config.accounts["tronk"].kind {
        AccountKind::Tronk(account) => account,
        other => panic!("{} is no tronk account", other.vendor()),
    }
}

// The shipped file

#[test]
fn the_shipped_file_is_valid_as_it_stands_and_changes_nothing() {
    let (shipped, empty) = (loaded(SHIPPED), loaded(""));
    assert_eq!(shipped.render_redacted(), empty.render_redacted());
    assert_eq!(shipped.store.path, PathBuf::from("/var/lib/opros/store/opros.db"));
    assert_eq!(shipped.mailbox.path, Some(PathBuf::from("/var/lib/opros/mailbox/mailbox.db")));
    assert_eq!((shipped.admin.socket.as_path(), shipped.admin.mode), ("/run/opros/admin.sock".as_ref(), 0o660));
    assert_eq!((shipped.log.format, shipped.log.filter.as_str()), (LogFormat::Auto, "info"));
    assert_eq!(shipped.callbacks.listen.to_string(), "127.0.0.1:8077");
    assert_eq!(duration::format(shipped.retention.calls), "14d");
}

#[test]
fn the_commented_accounts_of_the_shipped_file_are_what_holds_without_them() {
    let (accounts, sinks) = SHIPPED.split_once("# Sinks:").expect("accounts come before sinks");
    assert!(sinks.contains("#[[webhooks]]") && sinks.contains("#[[commands]]"));
    let uncommented: String = accounts
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with([' ', '-']) && !rest.is_empty() => rest.to_owned() + "\n",
            _ => line.to_owned() + "\n",
        })
        .map(|line| {
            line.replace("user_id = \"…\"", "user_id = 1")
                .replace("base_url = \"…\"", "base_url = \"https://vagvin.example\"")
        })
        .map(|line| line.replace('…', SECRET))
        .collect();
    assert_eq!(loaded(&uncommented).render_redacted(), loaded(ALL_FOUR).render_redacted());
}

#[test]
fn a_minimal_account_of_each_vendor_has_the_contracts_defaults() {
    insta::assert_snapshot!(loaded(ALL_FOUR).render_redacted(), @r#"
    [accounts.alta]
    allow_http = false
    balance_every = "1h"
    balance_low = 100.0
    base_url = "https://www.alta.ru"
    budget = { utc_offset = 3 }
    codes = { 15 = "permanent" }
    due_window = "15m"
    idle_every = "30m"
    limits = { max_in_flight = 4, min_interval = "1s" }
    login = "…"
    password = "…"
    pause_on = []
    prices = {}
    resubmit = false
    sa = "…"
    same_order_window = "0s"
    settle = "2m"
    show_every = "1m"
    stale_after = "0s"
    timeout = "30s"
    vendor = "alta"

    [accounts.rlab]
    alert_after = "20m"
    allow_http = false
    balance_every = "0s"
    balance_low = 20.0
    base_url = "https://apilr2.r-lab.biz"
    batch_wait = "30s"
    budget = { utc_offset = 3 }
    content_type = "application/json; charset=utf-8"
    grace = "7d"
    limits = { max_in_flight = 4, min_interval = "0s" }
    pause_on = []
    poll_at_counter = "1h"
    poll_ceiling = "6h"
    poll_factor = 2.0
    poll_first = "15m"
    prices = {}
    reserve_after = "5m"
    reserve_url = ""
    resubmit = true
    same_order_window = "0s"
    settle = "1m"
    stale_after = "0s"
    timeout = "30s"
    unknown_after = 10
    user_id = 1
    user_key = "…"
    vendor = "rlab"

    [accounts.tronk]
    allow_http = false
    base_url = "https://data.tronk.info"
    budget = { utc_offset = 3 }
    download = false
    download_limit = "32MiB"
    failed_statuses = []
    key = "…"
    limits = { max_in_flight = 4, min_interval = "0s" }
    pause_on = []
    poll = [{ every = "10s", for = "5m" }, { every = "30s", for = "10m" }, { every = "1m", for = "45m" }]
    prices = {}
    ready_statuses = [1]
    resubmit = false
    same_order_window = "0s"
    settle = "0s"
    timeout = "30s"
    vendor = "tronk"

    [accounts.vagvin]
    allow_http = false
    balance_every = "0s"
    base_url = "https://vagvin.example"
    budget = { utc_offset = 3 }
    callback_secret = "…"
    give_up = "2d"
    limits = { max_in_flight = 4, min_interval = "0s" }
    pause_on = []
    prices = {}
    resubmit = false
    same_order_window = "0s"
    settle = "0s"
    timeout = "30s"
    token = "…"
    vendor = "vagvin"

    [admin]
    allow_remote = false
    group = ""
    hosts = []
    listen = ""
    mode = "0660"
    read_group = ""
    read_mode = "0660"
    read_socket = ""
    socket = "/run/opros/admin.sock"

    [backup]
    cron = "30 3 * * *"
    dir = ""
    keep = 7
    zone = "UTC"

    [callbacks]
    listen = "127.0.0.1:8077"
    trusted_proxies = []

    [log]
    filter = "info"
    format = "auto"

    [mailbox]
    path = "/var/lib/opros/mailbox/mailbox.db"

    [retention]
    calls = "14d"
    events = "90d"
    finished = "90d"
    ledger = "1100d"
    most_calls = 0
    most_events = 0
    most_finished = 0
    uids = "400d"

    [store]
    allow_network_fs = false
    ballast = "4MiB"
    free_floor = "64MiB"
    path = "/var/lib/opros/store/opros.db"
    "#);
}

#[test]
fn what_is_rendered_says_all_and_is_refused_for_its_placeholders() {
    let rendered = loaded(ALL_FOUR).render_redacted();
    let said = said(&rendered);
    assert_eq!(said.lines().count(), 7, "{said}");
    assert!(said.lines().all(|line| line.ends_with("is still the placeholder of the shipped file")), "{said}");
}

#[test]
fn a_file_without_accounts_loads_with_a_warning() {
    let warnings = loaded("").warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].message.starts_with("none is configured"), "{}", warnings[0]);
}

#[test]
fn an_empty_mailbox_path_means_no_mailbox() {
    assert_eq!(loaded("mailbox.path = \"\"").mailbox.path, None);
}

#[test]
fn two_accounts_at_one_vendor_keep_their_own_settings() {
    let text = format!(
        "{ALL_FOUR}\n[accounts.second_one]\nvendor = \"tronk\"\nkey = \"other\"\nlimits = {{ max_in_flight = 1 }}"
    );
    let config = loaded(&text);
    assert_eq!(config.accounts["second_one"].common.limits.max_in_flight, 1);
    assert_eq!(config.accounts["tronk"].common.limits.max_in_flight, 4);
    assert_eq!(config.accounts["second_one"].name, "second_one");
}

#[test]
fn a_code_of_altas_is_added_to_the_shipped_one() {
    let config = loaded(&ALL_FOUR.replace("vendor = \"alta\"", "vendor = \"alta\"\ncodes = { 7 = \"pause\" }"));
    let AccountKind::Alta(alta) = &config.accounts["alta"].kind else { panic!("alta") };
    assert_eq!(
        alta.codes.iter().map(|(code, meaning)| (*code, *meaning)).collect::<Vec<_>>(),
        [(7, CodeMeaning::Pause), (15, CodeMeaning::Permanent)]
    );
}

// Problems

#[test]
fn budgets_and_prices_are_read_and_shown_and_their_mistakes_are_told() {
    let lines = "prices = { \"tronk.report\" = 30 }\nbudget = { per_day = 200, amount_per_day = 5e3 }\nsame_order_window = \"10m\"";
    let config = loaded(&tronk_with(lines));
    let common = &config.accounts["tronk"].common;
    assert_eq!(
        (common.budget.per_day, common.budget.amount_per_day, common.budget.utc_offset),
        (Some(200), Some(5e3), 3)
    );
    let shown = config.render_redacted();
    assert!(shown.contains("prices = { \"tronk.report\" = 30.0 }"), "{shown}");
    for (lines, word) in [
        ("budget = { per_day = 0 }", "from 1 to"),
        ("budget = { per_day = 2.5 }", "a whole number"),
        ("budget = { per_week = 3 }", "per_"),
        ("budget = { amount_per_day = 5 }", "prices must say what an order costs"),
        ("prices = { \"alta.track\" = 3 }", "a kind of this vendor"),
        ("prices = { \"tronk.report\" = \"3\" }", "a number"),
        ("prices = { tronk.report = 3 }", "in quotes"),
        ("download_limit = \"32MB\"", "a size such as"),
    ] {
        let told = said(&tronk_with(lines));
        assert!(told.contains(word) && told.lines().count() == 1, "{lines}: {told}");
    }
}

/// Lines added to Tronk's account begin at line 5 of the text.
fn tronk_with(lines: &str) -> String {
    format!("\n[accounts.tronk]\nvendor = \"tronk\"\nkey = \"{SECRET}\"\n{lines}\n")
}

fn alta_with(lines: &str) -> String {
    format!("[accounts.a]\nvendor = \"alta\"\nlogin = \"l\"\nsa = \"s\"\npassword = \"p\"\n{lines}\n")
}

fn rlab_with(lines: &str) -> String {
    format!("[accounts.r]\nvendor = \"rlab\"\nuser_id = 1\nuser_key = \"k\"\n\n{lines}\n")
}

fn vagvin_with(lines: &str) -> String {
    format!("[accounts.v]\nvendor = \"vagvin\"\n\n\n\n{lines}\n")
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let steps = "poll = [{ every = \"10s\", for = \"5m\" }, \n { evry = \"10s\", for = \"5m\" }]";
    let table: &[(String, &str)] = &[
        ("[stor]\npath = \"x\"".into(), "1: stor: unknown key; did you mean \"store\"?"),
        ("[store]\n\npaht = \"x\"".into(), "3: store.paht: unknown key; did you mean \"path\"?"),
        ("[store]\nzzzzzz = 1".into(), "2: store.zzzzzz: unknown key"),
        ("store = 5".into(), "1: store: must be a table"),
        ("[store]\npath = 5".into(), "2: store.path: must be a path in quotes"),
        ("[store]\npath = \"\"".into(), "2: store.path: must be a path in quotes"),
        ("[store]\nallow_network_fs = \"yes\"".into(), "2: store.allow_network_fs: must be true or false"),
        ("[admin]\nmode = 660".into(), "2: admin.mode: must be a text in quotes"),
        (
            "[admin]\nread_socket = \"/run/opros/admin.sock\"".into(),
            "2: admin.read_socket: must not be admin.socket: it is the one over which nothing can be changed",
        ),
        (
            "[admin]\nlisten = \"127.0.0.1:8078\"".into(),
            "2: admin.listen: needs a token: set token_file, or read_token_file for reading alone",
        ),
        (
            "[admin]\nlisten = \"127.0.0.1:8078\"\ntoken = \"short\"".into(),
            "3: admin.token: must have at least 16 visible ASCII characters, such as: openssl rand -hex 32",
        ),
        (
            "[admin]\nlisten = \"192.0.2.1:8078\"\ntoken = \"0123456789abcdef\"".into(),
            "2: admin.listen: is no loopback address: the token and all data would go over the network in plain text. Put a proxy with TLS before a loopback address; or, in a network that you trust, say allow_remote = true",
        ),
        (
            "[admin]\nlisten = \"[::1]:8078\"\ntoken = \"0123456789abcdef\"\nread_token = \"0123456789abcdef\"".into(),
            "4: admin.read_token: must not be admin.token: whoever has it could change everything",
        ),
        (
            "[admin]\nhosts = [\"http://opros.lan:8078\"]".into(),
            "2: admin.hosts: must be host names without scheme, port and path, such as [\"opros.example.com\"]",
        ),
        (
            "[admin]\nlisten = \"8078\"".into(),
            "2: admin.listen: must be an IP address and port, such as \"127.0.0.1:8077\" or \"[::1]:8077\"",
        ),
        ("[admin]\nmode = \"0888\"".into(), "2: admin.mode: must be octal permissions in quotes, such as \"0660\""),
        ("[admin]\nmode = \"+660\"".into(), "2: admin.mode: must be octal permissions in quotes, such as \"0660\""),
        (
            "[log]\nformat = \"jsn\"".into(),
            "2: log.format: must be one of auto, text, json, journald; did you mean \"json\"?",
        ),
        (
            "[log]\nfilter = \"a=b=c\"".into(),
            "2: log.filter: must be a filter such as \"info\" or \"info,opros::engine=debug\"",
        ),
        (
            "[callbacks]\nlisten = \"localhost\"".into(),
            "2: callbacks.listen: must be an IP address and port, such as \"127.0.0.1:8077\" or \"[::1]:8077\"",
        ),
        (
            "[callbacks]\ntrusted_proxies = [\"localhost\"]".into(),
            "2: callbacks.trusted_proxies: must be a list of IP addresses, such as [\"127.0.0.1\", \"::1\"]",
        ),
        ("[retention]\ncalls = \"0s\"".into(), "2: retention.calls: must be at least \"1s\""),
        (
            "[retention]\ncalls = 14".into(),
            "2: retention.calls: must be a duration such as \"250ms\", \"90s\", \"5m\", \"6h\", \"90d\" or \"1h30m\"",
        ),
        ("[retention]\ncalls = \"99999999d\"".into(), "2: retention.calls: must be a duration of at most 36525d"),
        ("[store\npath = 1".into(), "1: not TOML: unclosed table, expected `]`"),
        ("accounts.x = 1".into(), "1: accounts.x: must be a table"),
        (
            "[accounts.\"Büro\"]\nvendor = \"tronk\"\nkey = \"k\"".into(),
            "1: accounts.Büro: an account's name is 1 to 32 of a-z 0-9 _ -",
        ),
        (
            "[accounts.x]\nvendor = \"tronc\"\npol = 1".into(),
            "2: accounts.x.vendor: must be one of tronk, alta, rlab, vagvin; did you mean \"tronk\"?",
        ),
        (
            "[accounts.alta2]\nlogin = \"x\"".into(),
            "1: accounts.alta2.vendor: is required: one of tronk, alta, rlab, vagvin; did you mean \"alta\"?",
        ),
        (tronk_with("pol = []"), "5: accounts.tronk.pol: unknown key; did you mean \"poll\"?"),
        (tronk_with("user_key = \"x\""), "5: accounts.tronk.user_key: unknown key"),
        (tronk_with("poll = []"), "5: accounts.tronk.poll: must have at least one step"),
        (tronk_with("poll = \"10s\""), "5: accounts.tronk.poll: must be a list of tables"),
        (
            tronk_with("poll = [{ every = \"10ms\", for = \"5m\" }]"),
            "5: accounts.tronk.poll[0].every: must be at least \"1s\"",
        ),
        (
            tronk_with("poll = [{ every = \"10s\", for = \"5s\" }]"),
            "5: accounts.tronk.poll[0].for: must be at least every, which is \"10s\"",
        ),
        (tronk_with(steps), "6: accounts.tronk.poll[1].every: is required"),
        (tronk_with(steps), "6: accounts.tronk.poll[1].evry: unknown key; did you mean \"every\"?"),
        (tronk_with("ready_statuses = []"), "5: accounts.tronk.ready_statuses: must hold at least one number"),
        (tronk_with("ready_statuses = [\"1\"]"), "5: accounts.tronk.ready_statuses: must be a list of whole numbers"),
        (
            tronk_with("failed_statuses = [2, 1]"),
            "5: accounts.tronk.failed_statuses: must not hold a number that ready_statuses holds",
        ),
        (
            tronk_with("limits = { max_in_flight = 0 }"),
            "5: accounts.tronk.limits.max_in_flight: must be a whole number from 1 to 256",
        ),
        (
            tronk_with("min_interval = \"1s\""),
            "5: accounts.tronk.min_interval: unknown key; did you mean \"limits.min_interval\"?",
        ),
        (tronk_with("timeout = \"0s\""), "5: accounts.tronk.timeout: must be at least \"10ms\""),
        (tronk_with("timeout = \"1h\""), "5: accounts.tronk.timeout: must be at most \"10m\""),
        (tronk_with("pause_on = [\"\"]"), "5: accounts.tronk.pause_on: must be a list of texts, none empty"),
        (
            tronk_with("base_url = \"http://tronk.example\""),
            "5: accounts.tronk.base_url: plain http is for loopback addresses; use https, or say allow_http = true",
        ),
        (
            tronk_with("base_url = \"https://tronk.example/?key=1\""),
            "5: accounts.tronk.base_url: must not hold a query or a fragment",
        ),
        (
            tronk_with("base_url = \"https://me:pw@tronk.example\""),
            "5: accounts.tronk.base_url: must not hold a user or a password",
        ),
        (
            tronk_with("base_url = \"tronk.example\""),
            "5: accounts.tronk.base_url: must be an address such as \"https://vendor.example\" or \"https://vendor.example/prefix\"",
        ),
        (
            tronk_with("base_url = \"ftp://tronk.example\""),
            "5: accounts.tronk.base_url: must be an address such as \"https://vendor.example\" or \"https://vendor.example/prefix\"",
        ),
        (alta_with("show_every = \"59s\""), "6: accounts.a.show_every: must be at least \"1m\""),
        (alta_with("idle_every = \"1s\""), "6: accounts.a.idle_every: must be at least \"1m\""),
        (alta_with("balance_every = \"1s\""), "6: accounts.a.balance_every: must be \"0s\" (never) or at least \"1m\""),
        (
            alta_with("codes = { 15 = \"paus\" }"),
            "6: accounts.a.codes.15: must be one of transient, permanent, pause; did you mean \"pause\"?",
        ),
        (
            alta_with("codes = { x = \"pause\" }"),
            "6: accounts.a.codes.x: must be a whole number: one of the vendor's codes",
        ),
        (rlab_with("unknown_after = 0"), "6: accounts.r.unknown_after: must be a whole number from 1 to 4294967295"),
        (rlab_with("poll_factor = 0.5"), "6: accounts.r.poll_factor: must be a number from 1 to 100"),
        (rlab_with("poll_factor = nan"), "6: accounts.r.poll_factor: must be a number from 1 to 100"),
        (
            rlab_with("poll_ceiling = \"1m\""),
            "6: accounts.r.poll_ceiling: must be at least poll_first, which is \"15m\"",
        ),
        (rlab_with("poll_first = \"7h\""), "6: accounts.r.poll_first: must be at most poll_ceiling, which is \"6h\""),
        (rlab_with("poll_first = \"0s\""), "6: accounts.r.poll_first: must be at least \"1s\""),
        (
            rlab_with("reserve_url = \"http://other.example\""),
            "6: accounts.r.reserve_url: plain http is for loopback addresses; use https, or say allow_http = true",
        ),
        (
            rlab_with("content_type = \"json\""),
            "6: accounts.r.content_type: must be a content type such as \"application/json; charset=utf-8\"",
        ),
        (vagvin_with("token = \"t\""), "1: accounts.v.base_url: is required"),
        (
            vagvin_with("base_url = \"https://v.example\"\ncallback_secret = \"short\""),
            "7: accounts.v.callback_secret: must be at least 16 characters long",
        ),
        (
            vagvin_with("callback_secret = \"with/slash-0123456789\""),
            "6: accounts.v.callback_secret: must be of A-Z a-z 0-9 - _ . ~ only: it is a segment of an address",
        ),
    ];
    for (text, expected) in table {
        let said = said(text);
        let expected = format!("opros.toml:{expected}");
        assert!(said.lines().any(|line| line == expected), "{text}\nshould say\n{expected}\nbut says\n{said}");
    }
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_their_lines() {
    let text = "[store]\npth = 1\nallow_network_fs = 3\n[log]\nformat = 1\n[accounts.t]\nvendor = \"tronk\"\n";
    let lines: Vec<_> = load(&Sources::from_text(text)).expect_err("problems").0.into_iter().map(|p| p.line).collect();
    assert_eq!(lines, [Some(2), Some(3), Some(5), Some(6)]);
}

#[test]
fn a_named_file_must_exist_and_the_default_one_may_be_absent() {
    let absent = PathBuf::from("/nonexistent/opros.toml");
    let said = problems(&Sources { file: Some(absent.clone()), ..Sources::default() });
    assert!(said.starts_with("/nonexistent/opros.toml: cannot be read: "), "{said}");
    let by_variable =
        Sources { env: vec![("OPROS_CONFIG".into(), "/nonexistent/opros.toml".into())], ..Sources::default() };
    assert!(problems(&by_variable).starts_with("/nonexistent/opros.toml: cannot be read: "));
    assert!(load(&Sources { fallback: Some(absent), ..Sources::default() }).is_ok());
}

/// `--config /dev/null`, and what a shell hands over as `<(…)`.
#[test]
fn a_stream_of_the_callers_own_is_a_configuration_and_no_other_pipe_is() {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(ALL_FOUR.as_bytes()).unwrap();
    drop(writer);
    let own = format!("/dev/fd/{}", reader.as_raw_fd());
    let config = load(&Sources { file: Some(own.into()), ..Sources::default() }).unwrap();
    assert_eq!(config.accounts.len(), 4);
    assert_eq!(load(&Sources { file: Some("/dev/null".into()), ..Sources::default() }).unwrap().accounts.len(), 0);
    let told = problems(&Sources { file: Some("/dev/zero".into()), ..Sources::default() });
    assert_eq!(told, "/dev/zero: is a device, not a regular file");
}

#[test]
fn a_problem_in_a_file_begins_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("my.toml");
    fs::write(&file, "[admin]\nsokcet = \"x\"").unwrap();
    let said = problems(&Sources { file: Some(file.clone()), ..Sources::default() });
    assert_eq!(said, format!("{}:2: admin.sokcet: unknown key; did you mean \"socket\"?", file.display()));
}

#[test]
fn the_named_file_goes_before_the_one_in_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let [named, in_env] = ["named", "in_env"].map(|name| dir.path().join(name));
    fs::write(&named, "[store]\npath = \"/named\"").unwrap();
    fs::write(&in_env, "[store]\npath = \"/in_env\"").unwrap();
    let env = vec![("OPROS_CONFIG".to_owned(), in_env.display().to_string())];
    let mut sources = Sources { env, ..Sources::default() };
    assert_eq!(load(&sources).unwrap().store.path, PathBuf::from("/in_env"));
    sources.file = Some(named);
    assert_eq!(load(&sources).unwrap().store.path, PathBuf::from("/named"));
}

#[test]
fn what_is_allowed_but_unwise_is_a_warning_with_its_line() {
    let warned = |text: &str| loaded(text).warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let mode = format!("[admin]\nmode = \"0666\"{}", tronk_with(""));
    assert!(warned(&mode).starts_with("opros.toml:2: admin.mode: lets every user"), "{}", warned(&mode));
    let resubmit = warned(&tronk_with("resubmit = true"));
    assert!(resubmit.starts_with("opros.toml:5: accounts.tronk.resubmit: has no effect"), "{resubmit}");
}

#[test]
fn nesting_without_end_is_told_and_not_followed() {
    let deep = 50_000;
    for text in [
        format!("x = {}", "[".repeat(deep)),
        format!("x = {}", "{a=".repeat(deep)),
        format!("{}a = 1", "a.".repeat(deep)),
        format!("[{}a]", "a.".repeat(deep)),
    ] {
        assert!(said(&text).starts_with("opros.toml"));
    }
    let variable = format!("OPROS_{}", "A__".repeat(deep));
    assert_eq!(problems(&with_env("", &[(&variable, "x")])), format!("environment: {variable}: unknown variable"));
}

#[test]
fn the_mailbox_cannot_be_the_store() {
    let said = said("[store]\npath = \"/x.db\"\n[mailbox]\npath = \"/x.db\"");
    assert_eq!(
        said,
        "opros.toml:4: mailbox.path: must not be the store's own file: other programs write to the mailbox"
    );
}

// Politeness on this machine

#[test]
fn floors_do_not_hold_on_a_loopback_address() {
    for host in ["http://127.0.0.1:9", "http://localhost:9", "http://[::1]:9/prefix/", "https://127.0.0.1"] {
        let config =
            loaded(&alta_with(&format!("base_url = \"{host}\"\nshow_every = \"50ms\"\nidle_every = \"50ms\"")));
        assert!(config.accounts["a"].common.base_url.is_loopback(), "{host}");
        assert!(!config.accounts["a"].common.base_url.as_str().ends_with('/'));
    }
    let said = said(&alta_with("base_url = \"https://127.0.0.1.example\"\nshow_every = \"50ms\""));
    assert!(said.contains("show_every: must be at least"), "{said}");
}

#[test]
fn plain_http_is_taken_where_it_is_wanted() {
    let text = tronk_with("base_url = \"http://tronk.example\"\nallow_http = true");
    assert!(loaded(&text).accounts["tronk"].common.base_url.is_plain_http());
    loaded(&rlab_with("reserve_url = \"http://api-r-lab-b.1gb.ru\""));
}

#[test]
fn altas_pause_between_calls_is_one_second_unless_the_user_sets_it() {
    assert_eq!(loaded(&alta_with("")).accounts["a"].common.limits.min_interval, Duration::from_secs(1));
    let set = loaded(&alta_with("limits = { min_interval = \"0s\" }"));
    assert_eq!(set.accounts["a"].common.limits.min_interval, Duration::ZERO);
    assert_eq!(set.accounts["a"].common.limits.max_in_flight, 4);
}

// Environment and flags

#[test]
fn the_environment_goes_over_the_file_and_flags_over_both() {
    let text = "[log]\nfilter = \"debug\"\nformat = \"json\"\n[store]\npath = \"/file\"";
    let env =
        [("OPROS_LOG__FILTER", "trace"), ("OPROS_STORE__PATH", "/env"), ("PATH", "/bin"), ("OPROS_MAILBOX__PATH", "")];
    let mut sources = with_env(text, &env);
    sources.overrides = vec![("store.path".into(), "/flag".into()), ("store.allow_network_fs".into(), "true".into())];
    let config = load(&sources).unwrap();
    assert_eq!((config.log.filter.as_str(), config.log.format), ("trace", LogFormat::Json));
    assert_eq!((config.store.path, config.store.allow_network_fs), (PathBuf::from("/flag"), true));
    assert_eq!(config.mailbox.path, None);
}

#[test]
fn a_whole_account_can_come_from_the_environment() {
    let env = [
        ("OPROS_ACCOUNTS__TRONK__VENDOR", "tronk"),
        ("OPROS_ACCOUNTS__TRONK__KEY", "0012345"),
        ("OPROS_ACCOUNTS__TRONK__LIMITS__MAX_IN_FLIGHT", "2"),
        ("OPROS_ACCOUNTS__TRONK__POLL", "[{ every = \"2s\", for = \"4s\" }]"),
        ("OPROS_ACCOUNTS__TRONK__READY_STATUSES", "[1, 5]"),
    ];
    let config = load(&with_env("", &env)).unwrap();
    assert_eq!(tronk(&config).key.expose_secret(), "0012345", "digits stay text");
    assert_eq!(tronk(&config).poll[0].lasting, Duration::from_secs(4));
    assert_eq!(tronk(&config).ready_statuses, [1, 5]);
    assert_eq!(config.accounts["tronk"].common.limits.max_in_flight, 2);
}

#[test]
fn a_variable_reaches_an_account_whose_name_has_a_dash() {
    let text = tronk_with("").replace("tronk]", "my-shop]");
    let config = load(&with_env(&text, &[("OPROS_ACCOUNTS__MY_SHOP__TIMEOUT", "7s")])).unwrap();
    assert_eq!(config.accounts["my-shop"].common.timeout, Duration::from_secs(7));
    assert_eq!(config.accounts.len(), 1);
}

#[test]
fn mistakes_in_variables_and_flags_are_told_by_their_names() {
    let table = [
        ("OPROS_STORE_PATH", "/x", "unknown variable; did you mean \"OPROS_STORE__PATH\"?"),
        ("OPROS_ACCOUNTS__TRONK__KYE", "x", "unknown variable; did you mean \"OPROS_ACCOUNTS__TRONK__KEY\"?"),
        ("OPROS_SOMETHING_ELSE_ALTOGETHER", "x", "unknown variable"),
        ("OPROS_STORE", "x", "must be a table"),
        ("OPROS_STORE__PATH__X", "x", "must be a path in quotes"),
        ("OPROS_RETENTION__CALLS", "0s", "must be at least \"1s\""),
        ("OPROS_ACCOUNTS__TRONK__LIMITS__MAX_IN_FLIGHT", "many", "must be a whole number from 1 to 256"),
        ("OPROS_ACCOUNTS__TRONK__RESUBMIT", "perhaps", "must be true or false"),
        ("OPROS_", "x", "unknown variable"),
    ];
    for (variable, value, expected) in table {
        let said = problems(&with_env(&tronk_with(""), &[(variable, value)]));
        let named = variable.strip_suffix("__X").unwrap_or(variable);
        assert_eq!(said, format!("environment: {named}: {expected}"));
    }
    let flag = Sources { overrides: vec![("store.pth".into(), "x".into())], ..Sources::default() };
    assert_eq!(problems(&flag), "command line: store.pth: unknown key; did you mean \"path\"?");
}

#[test]
fn the_environment_lacks_what_an_account_of_its_own_lacks() {
    let said = problems(&with_env("", &[("OPROS_ACCOUNTS__TRNOK__KEY", SECRET)]));
    let expected = "environment: OPROS_ACCOUNTS__TRNOK__VENDOR: is required: one of tronk, alta, rlab, vagvin; did you mean \"tronk\"?";
    assert_eq!(said, expected);
}

// Secrets

#[test]
fn a_secret_from_a_file_loses_its_last_newline() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    let text = format!("[accounts.tronk]\nvendor = \"tronk\"\nkey_file = \"{}\"", file.display());
    for content in ["abc-def", "abc-def\n", "abc-def\r\n"] {
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
        let config = loaded(&text);
        assert_eq!(tronk(&config).key.expose_secret(), "abc-def");
        assert_eq!(config.warnings, []);
        fs::remove_file(&file).unwrap();
    }
    for (content, expected) in
        [("", "key: must not be empty"), ("\n", "key: must not be empty"), ("a\n\n", "key: must be one line")]
    {
        fs::write(&file, content).unwrap();
        let said = said(&text);
        assert!(said.contains(expected), "{said}");
    }
    fs::remove_file(&file).unwrap();
    assert!(said(&text).starts_with("opros.toml:3: accounts.tronk.key_file: "));
    assert!(
        said(&text.replace(&file.display().to_string(), "/dev/zero"))
            .ends_with("/dev/zero is a device, not a regular file")
    );
}

/// What an editor, a copy or a slip of the hand makes of a key; none of it can be seen on the screen.
#[test]
fn a_secret_that_cannot_be_right_is_refused_wherever_it_comes_from_and_what_is_harmless_is_cut() {
    let good = ["k3y", "k3y\n", "k3y\r\n", "\u{FEFF}k3y", "\u{FEFF}k3y\r\n"];
    let wrong = [
        (" k3y", "a blank"),
        ("k3y ", "a blank"),
        ("k3y \n", "a blank"),
        ("k3y\u{A0}", "U+00A0"),
        ("k3y\u{200B}", "U+200B"),
        ("\u{FEFF}\u{FEFF}k3y", "U+FEFF"),
        ("\"k3y\"", "quotation marks"),
        ("'k3y'\n", "quotation marks"),
        ("key = \"k3y\"", "a whole line"),
        ("OPROS_ACCOUNTS__TRONK__KEY=k3y\n", "a whole line"),
        ("k3y\nk3y\n", "one line"),
        ("k3y\r\nk3y\r\n", "one line"),
        ("k3y\t", "control characters"),
        ("…", "placeholder"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let given = |content: &str| {
        let file = dir.path().join("secret");
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
        let credentials = tempfile::tempdir().unwrap();
        fs::write(credentials.path().join("tronk.key"), content).unwrap();
        let bare = "[accounts.tronk]\nvendor = \"tronk\"\n";
        let quoted = toml_edit::Value::from(content).to_string();
        let loads = [
            load(&Sources::from_text(&format!("{bare}key_file = \"{}\"\n", file.display()))),
            load(&Sources::from_text(&format!("{bare}key = {quoted}\n"))),
            load(&with_env(bare, &[("OPROS_ACCOUNTS__TRONK__KEY", content)])),
            load(&Sources { credentials_dir: Some(credentials.path().to_owned()), ..Sources::from_text(bare) }),
        ];
        fs::remove_file(&file).unwrap();
        loads
    };
    for content in good {
        for config in given(content) {
            assert_eq!(tronk(&config.expect(content)).key.expose_secret(), "k3y", "{content:?}");
        }
    }
    for (content, words) in wrong {
        for (way, loaded) in given(content).into_iter().enumerate() {
            let told = loaded.err().map(|problems| problems.to_string()).unwrap_or_default();
            assert!(told.contains(words) && !told.contains("k3y"), "{content:?}, way {way}: {told}");
            assert!(way != 0 || told.contains(&dir.path().display().to_string()), "the file is named: {told}");
        }
    }
    let wide: Vec<u8> = "\u{FEFF}k3y\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let file = dir.path().join("wide");
    fs::write(&file, wide).unwrap();
    let told = said(&format!("[accounts.tronk]\nvendor = \"tronk\"\nkey_file = \"{}\"", file.display()));
    assert!(told.ends_with("wide is UTF-16, not UTF-8: save it as UTF-8"), "{told}");
}

#[test]
fn two_secrets_of_a_webhook_are_looked_at_with_the_same_care() {
    let good = "whsec_c2VjcmV0LWNhbmFyeS0wMTIzNDU2Nzg5";
    let with = |secret: &str| {
        let secret = toml_edit::Value::from(secret).to_string();
        format!("{ALL_FOUR}\n[[webhooks]]\nname = \"shop\"\nurl = \"https://shop.example/\"\nsecret = {secret}\n")
    };
    for content in [good.to_owned(), format!("{good} {good}"), format!("\u{FEFF}{good}\r\n{good}\r\n")] {
        loaded(&with(&content));
    }
    for content in [format!("\"{good}\""), format!("{good}\u{200B} {good}"), format!("secret = {good}")] {
        let told = said(&with(&content));
        assert!(told.contains("webhooks[0].secret") && !told.contains("c2VjcmV0"), "{told}");
    }
}

#[test]
fn what_stands_in_the_place_of_a_path_or_a_date_is_not_taken_for_a_secret_and_not_shown() {
    for key in [SECRET, "Tr0nk/s3cr3t+abc", "/s3cr3t+abc==", "/s3cr3t/abc=="] {
        let told = said(&format!("[accounts.tronk]\nvendor = \"tronk\"\nkey_file = \"{key}\""));
        assert!(told.starts_with("opros.toml:3: accounts.tronk.key_file: must be the path of a file"), "{told}");
        assert!(!told.contains("s3cr3t"), "{told}");
    }
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("tronk.kye").display().to_string();
    assert!(said(&format!("[accounts.tronk]\nvendor = \"tronk\"\nkey_file = \"{missing}\"")).contains(&missing));
    for date in ["2026-01-01", "07:32:00", "2026-01-01T07:32:00Z", "2026-01-01 07:32:00"] {
        let told = said(&format!("[accounts.tronk]\nvendor = \"tronk\"\nkey = {date}"));
        assert_eq!(told, "opros.toml:3: accounts.tronk.key: must be a text in quotes", "{date}");
        for (line, words) in [
            ("[log]\nfilter", "must be a text"),
            ("[store]\npath", "must be a path"),
            ("[retention]\nfinished", "retention.finished"),
            ("[admin]\ntoken_file", "must be a path"),
            ("[accounts]\ntronk", "must be a table"),
        ] {
            assert!(said(&format!("{line} = {date}\n")).contains(words), "{line} = {date}");
        }
    }
    let params = "\n[[schedules]]\nname = \"fleet\"\ncron = \"30 8 * * *\"\nkind = \"tronk.report\"\nparams = { phone = 2026-01-01 }\n";
    assert!(said(&tronk_with(params)).contains("a date or a time without quotes"));
}

#[test]
fn a_secret_on_the_command_line_is_warned_of() {
    let mut sources = Sources::from_text("[accounts.tronk]\nvendor = \"tronk\"\n");
    sources.overrides = vec![("accounts.tronk.key".to_owned(), SECRET.to_owned())];
    let warnings = load(&sources).unwrap().warnings;
    assert!(
        warnings.len() == 1 && warnings[0].message.contains("every user of this machine can read it (ps)"),
        "{warnings:?}"
    );
    sources.overrides = vec![("log.filter".to_owned(), "debug".to_owned())];
    sources.env = vec![("OPROS_ACCOUNTS__TRONK__KEY".to_owned(), SECRET.to_owned())];
    assert_eq!(load(&sources).unwrap().warnings, []);
    use clap::Parser;
    let error = opros::cli::Cli::try_parse_from(["opros", "serve", "--set", &format!("accounts.tronk.key:{SECRET}")]);
    let told = error.unwrap_err().to_string();
    assert!(told.contains("KEY=VALUE") && !told.contains("s3cr3t"), "{told}");
}

#[test]
fn a_key_that_is_given_twice_is_named_with_the_line_where_it_stood_first() {
    let twice = format!("[accounts.tronk]\nvendor = \"tronk\"\nkey = \"{SECRET}\"\nvendor = \"{SECRET}\"\n");
    assert_eq!(said(&twice), "opros.toml:4: accounts.tronk.vendor: is given twice: it stands in line 2 already");
    let inline = tronk_with("limits = { max_in_flight = 1, max_in_flight = 2 }");
    assert_eq!(said(&inline), "opros.toml:5: max_in_flight: is given twice");
    let section = format!("[log]\n[accounts.tronk]\nvendor = \"tronk\"\nkey = \"{SECRET}\"\n\n[accounts.tronk]\n");
    assert_eq!(said(&section), "opros.toml:6: accounts.tronk: is given twice: it stands in line 2 already");
}

/// What the check takes can be made, and what it refuses cannot.
#[tokio::test]
async fn a_sockets_path_is_judged_by_what_is_really_bound() {
    let root = tempfile::Builder::new().prefix("o").tempdir_in("/tmp").unwrap();
    let base = root.path().display().to_string();
    for length in (90..=112_usize).rev() {
        for name in ["a", "admin.sock", "a-name-of-some-length.sock"] {
            let Some(pad) = length.checked_sub(base.len() + 2 + name.len()).filter(|pad| *pad > 0) else { continue };
            let directory = format!("{base}/{}", "d".repeat(pad));
            fs::create_dir_all(&directory).unwrap();
            let path = format!("{directory}/{name}");
            assert_eq!(path.len(), length);
            let taken = load(&Sources::from_text(&format!("[admin]\nsocket = \"{path}\"\n"))).is_ok();
            let bound = opros::listener::unix::bind(Path::new(&path), 0o600).await;
            // A longer name can be given to a socket, and no client can connect to it.
            let reached = bound.is_ok() && std::os::unix::net::UnixStream::connect(&path).is_ok();
            assert_eq!(taken, reached, "{length} bytes, {name}: {:?}", bound.err());
        }
    }
}

#[test]
fn a_secret_file_that_others_can_read_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    fs::write(&file, SECRET).unwrap();
    let text = format!("[accounts.tronk]\nvendor = \"tronk\"\nkey_file = \"{}\"", file.display());
    for (mode, expected) in [(0o644, "is open to every user"), (0o440, "is open to its group")] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let warnings = loaded(&text).warnings;
        assert!(warnings.len() == 1 && warnings[0].message.contains(expected), "{warnings:?}");
    }
}

#[test]
fn a_config_file_with_secrets_that_others_can_read_is_warned_of_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("opros.toml");
    fs::write(&file, ALL_FOUR).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let config = load(&Sources { file: Some(file), ..Sources::default() }).unwrap();
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
}

#[test]
fn a_secret_comes_from_a_systemd_credential_of_either_name() {
    let text = "[accounts.tronk]\nvendor = \"tronk\"\n";
    for name in ["accounts.tronk.key", "tronk.key"] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name), "from-systemd\n").unwrap();
        let sources = Sources { credentials_dir: Some(dir.path().to_owned()), ..Sources::from_text(text) };
        assert_eq!(tronk(&load(&sources).unwrap()).key.expose_secret(), "from-systemd");
    }
}

#[test]
fn a_missing_or_doubled_secret_is_a_problem() {
    let missing = said("[accounts.tronk]\nvendor = \"tronk\"");
    assert_eq!(
        missing,
        "opros.toml:1: accounts.tronk.key: is required (or key_file, or the systemd credential accounts.tronk.key)"
    );
    let twice = said(&tronk_with("key_file = \"/etc/passwd\""));
    assert_eq!(twice, "opros.toml:4: accounts.tronk.key: is given more than once: by key and by key_file");
    let across = problems(&with_env(&tronk_with(""), &[("OPROS_ACCOUNTS__TRONK__KEY_FILE", "/etc/passwd")]));
    assert_eq!(across, twice);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tronk.key"), "x").unwrap();
    let sources = Sources { credentials_dir: Some(dir.path().to_owned()), ..Sources::from_text(&tronk_with("")) };
    assert!(problems(&sources).contains("is given more than once: by key and by the credential "));
}

#[test]
fn secrets_that_cannot_be_right_are_refused() {
    for (value, expected) in [
        ("\"\"", "must not be empty"),
        ("12345", "must be a text in quotes"),
        ("\"…\"", "is still the placeholder of the shipped file"),
        ("\"a\\u0000b\"", "must be one line without control characters"),
    ] {
        let said = said(&format!("[accounts.tronk]\nvendor = \"tronk\"\nkey = {value}"));
        assert_eq!(said, format!("opros.toml:3: accounts.tronk.key: {expected}"));
    }
}

#[test]
fn a_secret_that_is_too_short_to_be_masked_everywhere_is_warned_of_and_a_login_is_not() {
    let config = loaded(
        "[accounts.tronk]\nvendor = \"tronk\"\nkey = \"12345\"\n[accounts.alta]\nvendor = \"alta\"\nlogin = \"me\"\nsa = \"2021\"\npassword = \"1519\"\n",
    );
    let warned: Vec<&str> = config.warnings.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(warned, ["accounts.alta.password", "accounts.tronk.key"]);
    assert!(config.warnings.iter().all(|warning| warning.message.contains("fewer than six characters")));
}

#[test]
fn no_secret_shows_in_debug_output_or_rendering_or_sources() {
    let mut sources = with_env(ALL_FOUR, &[("OPROS_ACCOUNTS__TRONK__KEY", SECRET)]);
    sources.overrides = vec![("accounts.alta.sa".into(), SECRET.into())];
    let config = load(&sources).unwrap();
    let shown = [format!("{config:?}"), format!("{config:#?}"), config.render_redacted(), format!("{sources:?}")];
    for text in shown.into_iter().chain([serde_json::to_string(&config).unwrap()]) {
        assert!(!text.contains("s3cr3t"), "{text}");
    }
    // A login and a contract number are hidden here, and are no secrets that are masked elsewhere.
    assert_eq!(config.secrets().len(), 5);
    assert!(config.secrets().iter().all(|secret| secret.expose_secret().starts_with(SECRET)));
}

#[test]
fn no_problem_repeats_what_was_written() {
    // The secret stands in every place where a hand may slip.
    let texts = [
        format!("[accounts.tronk]\nvendor = \"{SECRET}\""),
        format!(
            "[accounts.tronk]\nvendor = \"tronk\"\nky = \"{SECRET}\"\nkey = [\"{SECRET}\"]\ntimeout = \"{SECRET}\""
        ),
        format!("[accounts.tronk]\nvendor = \"tronk\"\nkey = \"{SECRET}\nbase_url = 1"),
        format!("[accounts.tronk]\nvendor = \"tronk\"\nkey = \"{SECRET}\"\nkey = \"{SECRET}\""),
        format!("[accounts.tronk]\nvendor = \"tronk\"\nkey = {SECRET}"),
        format!("[accounts.tronk]\nvendor = \"tronk\"\nkey = \"\\q{SECRET}\""),
        tronk_with(&format!("base_url = \"https://{SECRET}@x.example\"\npoll = \"{SECRET}\"\npause_on = \"{SECRET}\"")),
        vagvin_with(&format!("callback_secret = \"{SECRET}/\"\ntoken = \"{SECRET}\\n\"")),
        format!(
            "[log]\nfilter = \"{SECRET}==\"\nformat = \"{SECRET}\"\n[callbacks]\nlisten = \"{SECRET}\"\n[admin]\nmode = \"{SECRET}\""
        ),
    ];
    for text in texts {
        let problems = load(&Sources::from_text(&text)).expect_err("a problem");
        assert!(!format!("{problems} {problems:?}").contains("s3cr3t"), "{text}\n{problems}");
    }
}

// The client's way to the socket

#[test]
fn a_client_finds_the_socket_however_broken_the_file_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("opros.toml");
    let mut sources = Sources { fallback: Some(file.clone()), ..Sources::default() };
    assert_eq!(sources.client_socket(), PathBuf::from("/run/opros/admin.sock"));
    fs::write(&file, "[admin\n").unwrap();
    assert_eq!(sources.client_socket(), PathBuf::from("/run/opros/admin.sock"));
    fs::write(&file, "nonsense = 1\n[admin]\nsocket = \"/file.sock\"").unwrap();
    assert_eq!(sources.client_socket(), PathBuf::from("/file.sock"));
    sources.env = vec![("OPROS_ADMIN__SOCKET".into(), "/env.sock".into()), ("OPROS_NONSENSE".into(), "1".into())];
    assert_eq!(sources.client_socket(), PathBuf::from("/env.sock"));
    sources.overrides = vec![("admin.socket".into(), "/flag.sock".into())];
    assert_eq!(sources.client_socket(), PathBuf::from("/flag.sock"));
}

// Durations

#[test]
fn durations_read_as_people_write_them() {
    for (text, millis) in [
        ("250ms", 250),
        ("90s", 90_000),
        ("5m", 300_000),
        ("6h", 21_600_000),
        ("90d", 7_776_000_000),
        ("1h30m", 5_400_000),
        ("1d2h3m4s5ms", 93_784_005),
        ("0s", 0),
    ] {
        assert_eq!(duration::parse(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for text in
        ["", "5", "s", "5 s", "-5s", "1.5h", "5S", "5min", "30m1h", "1s1s", "5m ", " 5m", "٥m", "5mm", "1e3s", "+1s"]
    {
        assert_eq!(duration::parse(text), Err(duration::DurationError::Shape), "{text}");
    }
    for text in ["36526d", "99999999999999999999s", "18446744073709551615d"] {
        assert_eq!(duration::parse(text), Err(duration::DurationError::TooLong), "{text}");
    }
}

proptest! {
    #[test]
    fn every_duration_reads_back_as_it_was_written(millis in 0..=duration::LONGEST.as_millis() as u64) {
        let span = Duration::from_millis(millis);
        prop_assert_eq!(duration::parse(&duration::format(span)), Ok(span));
    }

    #[test]
    fn no_text_makes_the_duration_parser_panic(text in "\\PC{0,12}|[0-9]{0,22}(d|h|m|s|ms)([0-9]{0,3}(m|s))?") {
        if let Ok(span) = duration::parse(&text) {
            prop_assert!(span <= duration::LONGEST);
        }
    }

    #[test]
    fn no_text_makes_the_loader_panic(text in "\\PC{0,60}") {
        let _ = load(&Sources::from_text(&text));
    }

    /// Any kind of value at any place of the right shape: never a panic, and every problem has its line.
    #[test]
    fn any_value_at_any_key_is_taken_or_told_with_its_line(
        section in prop::sample::select(vec!["store", "mailbox", "admin", "log", "retention", "accounts", "accounts.x", "accounts.x.limits", "accounts.x.codes"]),
        key in "[a-z_]{1,12}|\"[a-z./\\[\\]0-9]{0,6}\"|path|vendor|poll|codes|limits|key|base_url|socket|mode|x",
        value in "[0-9]{1,20}|-1|1\\.5|nan|true|\"[a-z0-9:/.]{0,12}\"|\\[\\]|\\[\\[1\\], \\{ every = 1 \\}\\]|\\{ x = \\{ y = 1 \\} \\}|2026-01-01|\"(tronk|alta|rlab|vagvin)\"",
        vendor in prop::sample::select(vec!["tronk", "alta", "rlab", "vagvin"]),
    ) {
        let text = format!("accounts.y.vendor = \"{vendor}\"\n[{section}]\n{key} = {value}\n");
        if let Err(problems) = load(&Sources::from_text(&text)) {
            prop_assert!(!problems.0.is_empty());
            prop_assert!(problems.0.iter().all(|problem| problem.line.is_some()), "{text}\n{problems}");
        }
    }
}

// Webhooks and commands

const HOOK: &str = "[[webhooks]]\nname = \"shop\"\nurl = \"https://shop.example/hook/s3cr3t-canary-0123456789?t=s3cr3t-canary-0123456789\"\n\
    secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n";

#[test]
fn a_minimal_webhook_and_command_have_the_shipped_defaults_and_hide_what_is_secret() {
    let config = loaded(&format!("{HOOK}[[commands]]\nname = \"run\"\nrun = [\"/bin/true\", \"x\"]\n"));
    let shown = config.render_redacted();
    let of = |name: &str| shown.split("\n\n").find(|table| table.starts_with(name)).unwrap_or_default().to_owned();
    insta::assert_snapshot!(of("[[commands]]"), @r#"
    [[commands]]
    filter = { accounts = [], kinds = [], tags = [], types = [] }
    max_in_flight = 2
    name = "run"
    run = ["/bin/true", "x"]
    timeout = "30s"
    "#);
    insta::assert_snapshot!(of("[[webhooks]]"), @r#"
    [[webhooks]]
    allow_http = false
    allow_private = false
    filter = { accounts = [], kinds = [], tags = [], types = [] }
    format = "standard"
    max_in_flight = 4
    name = "shop"
    secret = ["…"]
    timeout = "15s"
    url = "https://shop.example/…"
    "#);
    assert!(!format!("{shown}{config:?}").contains(SECRET) && !shown.contains("whsec_"), "{shown}");
    assert_eq!(config.secrets().len(), 2, "the key, and what the address hides");
}

#[test]
fn a_webhooks_secret_comes_from_a_file_or_a_credential_too_and_two_may_be_given() {
    let dir = tempfile::tempdir().unwrap();
    let two = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\nwhsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\n";
    fs::write(dir.path().join("webhooks.shop.secret"), two).unwrap();
    let bare = HOOK.lines().filter(|line| !line.starts_with("secret")).collect::<Vec<_>>().join("\n");
    let with_credential = Sources { credentials_dir: Some(dir.path().to_owned()), ..Sources::from_text(&bare) };
    assert_eq!(load(&with_credential).unwrap().webhooks[0].signing.len(), 2);
    let file = dir.path().join("webhooks.shop.secret");
    assert_eq!(loaded(&format!("{bare}\nsecret_file = {file:?}\n")).webhooks[0].signing.len(), 2);
    let list = r#"secret = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"]"#;
    assert_eq!(loaded(&format!("{bare}\n{list}\n")).webhooks[0].signing.len(), 2);
    assert!(said(&bare).contains("is required (or secret_file, or the systemd credential webhooks.shop.secret)"));
    assert!(said(&format!("{bare}\nsecret = []\n")).contains("must be one secret, or two"));
    assert!(said(&format!("{bare}\nsecret = \"whsec_short\"\n")).contains("openssl rand"));
}

#[test]
fn every_mistake_in_a_sink_is_told_with_its_place() {
    let text = format!(
        "{HOOK}filter = {{ types = [\"job.suceeded\"], accounts = [\"tronkk\"] }}\ntimeout = \"1h\"\nformat = \"cloudevent\"\n\
         [[webhooks]]\nname = \"Not A Name\"\nulr = \"x\"\n[[commands]]\nname = \"shop\"\nrun = [\"relative\"]\n"
    );
    let said = said(&text);
    for part in [
        "opros.toml:5: webhooks[0].filter.types: names an event that there is not; did you mean \"job.succeeded\"?",
        "webhooks[0].filter.accounts: names an account that is not configured",
        "opros.toml:6: webhooks[0].timeout: must be at most \"10m\"",
        "webhooks[0].format: must be one of standard, cloudevents; did you mean \"cloudevents\"?",
        "opros.toml:9: webhooks[1].name: a sink's name is 1 to 32 of a-z 0-9 _ -",
        "opros.toml:10: webhooks[1].ulr: unknown key; did you mean \"url\"?",
        "webhooks[1].url: is required",
        "commands: two webhooks or commands have the same name",
        "commands[0].run: must begin with the program's whole path",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
}

#[test]
fn a_freshness_objective_below_the_slowest_pace_is_refused() {
    let text = ALL_FOUR.replace("user_id = 1", "user_id = 1\nstale_after = \"3h\"");
    assert!(said(&text).contains("accounts.rlab.stale_after: must be at least poll_ceiling, which is \"6h\""));
}
