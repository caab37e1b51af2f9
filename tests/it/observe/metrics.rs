use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use opros::admin::catalogue;
use serde_json::{Value, json};

use super::house::House;

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Every series name that the daemon can export, with the metric that it belongs to.
fn series() -> BTreeMap<String, String> {
    let mut series = BTreeMap::new();
    for entry in catalogue() {
        let suffixes: &[&str] = if entry.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        series.extend(suffixes.iter().map(|suffix| (format!("{}{suffix}", entry.name), entry.name.clone())));
    }
    series
}

/// Words that look like one of our metrics.
fn named_in(text: &str) -> BTreeSet<String> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    text.split(word).filter(|word| word.starts_with("opros_")).map(str::to_owned).collect()
}

#[test]
fn names_follow_the_rules_of_prometheus() {
    let entries = catalogue();
    let names: BTreeSet<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names.len(), entries.len(), "a name is used twice");
    for entry in &entries {
        assert!(!entry.help.is_empty() && !entry.help.ends_with('.'), "{entry:?}");
        for wrong in ["milli", "_ms", "minutes", "hours", "kib", "percent"] {
            assert!(!entry.name.contains(wrong), "{} is not in base units", entry.name);
        }
        let wanted = entry.help.starts_with("How long") || entry.help.starts_with("How old");
        assert!(!wanted || entry.name.ends_with("_seconds"), "{} lacks its unit", entry.name);
    }
}

#[test]
fn rules_and_dashboard_name_only_what_the_daemon_exports() {
    let series = series();
    let dashboard: Value = serde_json::from_str(&file("monitoring/opros.dashboard.json")).unwrap();
    let exprs: Vec<&str> = dashboard["panels"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    assert!(exprs.len() > 40);
    let rules = file("monitoring/opros.rules.yml");
    let exprs_of_rules: String = rules.lines().filter(|line| line.trim_start().starts_with("expr:")).collect();
    for name in named_in(&exprs.join(" ")).union(&named_in(&exprs_of_rules)) {
        assert!(series.contains_key(name), "{name} is not exported");
    }
}

#[test]
fn each_alert_is_tested_and_says_what_to_do() {
    let (rules, tests) = (file("monitoring/opros.rules.yml"), file("monitoring/opros.rules.test.yml"));
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 20);
    for alert in &alerts {
        assert!(tests.contains(&format!("name: {alert} fires")), "{alert} is not tested");
    }
    for needed in ["summary: ", "description: ", "severity: "] {
        assert_eq!(rules.matches(needed).count(), alerts.len(), "{needed}");
    }
}

#[test]
fn the_documented_table_is_the_daemons() {
    let docs = file("docs/operations.md");
    let mut documented = BTreeMap::new();
    for line in docs.lines().filter(|line| line.starts_with("| `opros_")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        documented.insert(cells[1].trim_matches('`').to_owned(), cells[2].to_owned());
    }
    let real: BTreeMap<String, String> = catalogue()
        .into_iter()
        .map(|entry| (entry.name, if entry.kind == "info" { "gauge" } else { entry.kind }.to_owned()))
        .collect();
    assert_eq!(documented, real);
}

#[tokio::test]
async fn a_scrape_shows_what_was_done_and_nothing_that_is_not_in_the_catalogue() {
    let house = House::open("budget = { per_day = 5 }").await;
    let socket = house.socket();
    socket.post(&["v1", "accounts", "tronk", "pause"], &json!({})).await.unwrap();
    socket
        .post(&["v1", "jobs"], &json!({ "kind": "tronk.report", "params": { "phone": "79990000111" } }))
        .await
        .unwrap();
    let page = socket.get(&["metrics"], &[]).await.unwrap().body;
    house.daemon.stop().await;
    for line in [
        "opros_jobs{account=\"tronk\",kind=\"tronk.report\",state=\"queued\"} 1",
        "opros_account_paused{account=\"tronk\",vendor=\"tronk\"} 1",
        "opros_budget_submissions{account=\"tronk\",window=\"day\"} 5",
        "opros_spent_submissions{account=\"tronk\",window=\"day\"} 0",
        "opros_health_cause{cause=\"account_paused:tronk\"} 1",
        "opros_connections{listener=\"admin\"} 1",
        "# TYPE opros_store_commit_seconds histogram",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is missing in\n{page}");
    }
    assert!(!page.contains("79990000111"));
    let known: BTreeMap<String, &str> = catalogue().iter().map(|e| (e.name.clone(), e.kind)).collect();
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let expected = known.get(name).map(|kind| if *kind == "info" { "gauge" } else { *kind });
        assert_eq!(expected, Some(kind), "{name}");
    }
    let value = |name: &str| -> f64 {
        let line = page.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{name}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(value("opros_process_resident_memory_bytes") > 1e6 && value("opros_process_open_fds") > 3.0);
    assert!(value("opros_disk_free_bytes") > 1e6 && value("opros_store_commit_seconds_count") > 1.0);
    assert!(value("opros_process_start_time_seconds") > 1.7e9);
}

/// A million jobs more are no work more: the statements of a scrape read counters and the ends of indexes.
#[test]
fn no_scrape_counts_rows() {
    let metrics = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/metrics");
    let asked: BTreeSet<String> = std::fs::read_dir(metrics)
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .flat_map(|text| {
            text.split("store.")
                .skip(1)
                .map(|rest| rest.split(['(', ')']).next().unwrap().to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    // What has its own name in a file there: a trait's object, a path.
    let cheap = [
        "as_ref",
        "commits",
        "counts",
        "mailbox_cursor",
        "next_due",
        "oldest_delivery",
        "parent",
        "register",
        "spent",
        "with_extension",
    ];
    for verb in asked.iter().filter(|verb| verb.chars().all(|c| c.is_ascii_lowercase() || c == '_')) {
        assert!(cheap.contains(&verb.as_str()), "{verb} has to be looked at: is it cheap with a million jobs?");
    }
    for (name, sql) in opros::store::sqlite::sql::ALL {
        if ["GET_COUNTS", "NEXT_SUBMIT", "NEXT_FREE", "OLDEST_DELIVERY"].contains(name) {
            assert!(!sql.contains("count("), "{name}");
        }
    }
}
