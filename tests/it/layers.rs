//! The import rule of the house, held as a table: main → app → doors and engine → store, vendors, http → domain.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which rooms each room may import from. A room that is missing here may import nothing, so a new one must be placed.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("clock", &["domain"]),
    // Empty functions, but for the feature `crashtest`.
    ("crash", &[]),
    ("vendors", &["domain"]),
    ("http", &["clock", "crash", "domain", "guard"]),
    // What others count and measure with; names of users and groups.
    ("meters", &[]),
    ("people", &[]),
    // Opening files that others may have put there.
    ("look", &["people"]),
    ("store", &["clock", "crash", "domain", "meters"]),
    ("health", &["domain"]),
    ("listener", &["crash", "meters"]),
    // Which addresses may be connected to: the configuration judges by it, and deliveries do.
    ("guard", &[]),
    ("config", &["domain", "guard", "look"]),
    ("telemetry", &["clock", "config", "domain"]),
    ("engine", &["clock", "crash", "domain", "health", "http", "meters", "store", "vendors"]),
    // Webhooks and commands know the store, and nothing of the engine or the vendors.
    ("sinks", &["clock", "crash", "domain", "guard", "health", "http", "meters", "store"]),
    ("mailbox", &["clock", "crash", "domain", "engine", "health", "store"]),
    ("downloads", &["callbacks", "domain", "engine", "http", "store"]),
    ("callbacks", &["clock", "crash", "domain", "engine", "health", "listener", "meters", "store", "vendors"]),
    (
        "admin",
        &[
            "clock",
            "callbacks",
            "crash",
            "domain",
            "downloads",
            "engine",
            "health",
            "listener",
            "meters",
            "people",
            "sinks",
            "store",
            "vendors",
        ],
    ),
    // The client knows the socket's contract and nothing of the daemon's inside.
    ("cli", &["clock", "config", "domain", "people"]),
    // The simulated vendors know nothing of the daemon.
    ("simulator", &["cli", "clock", "domain"]),
    (
        "app",
        &[
            "admin",
            "callbacks",
            "clock",
            "config",
            "crash",
            "domain",
            "downloads",
            "engine",
            "guard",
            "health",
            "http",
            "listener",
            "mailbox",
            "meters",
            "people",
            "sinks",
            "store",
            "telemetry",
            "vendors",
        ],
    ),
    // Looks at everything from outside, and changes nothing.
    (
        "doctor",
        &[
            "app", "cli", "clock", "config", "domain", "engine", "guard", "http", "look", "mailbox", "people", "store",
            "vendors",
        ],
    ),
    ("init", &["app", "cli", "clock", "config", "doctor", "look", "store"]),
    ("lifecycle", &["app", "clock", "config", "domain", "engine", "store", "telemetry"]),
    ("restore", &["cli", "clock", "config", "lifecycle", "store"]),
    ("demo", &["app", "cli", "clock", "config", "domain", "simulator", "store"]),
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|ext| ext == "rs") {
            found.push(entry);
        }
    }
}

/// `src/engine/claim.rs` is in the room `engine`.
fn room(path: &Path, src: &Path) -> String {
    let first = path.strip_prefix(src).unwrap().components().next().unwrap();
    first.as_os_str().to_str().unwrap().trim_end_matches(".rs").trim_end_matches("_tests").to_owned()
}

/// Rooms that a file names with `crate::`; unit tests count too, except for the simulator and the SQLite backend.
fn imports(text: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for part in line.split("crate::").skip(1) {
            let name: String = part.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            rooms.insert(name);
        }
    }
    rooms.remove("");
    rooms
}

#[test]
fn rooms_import_one_way() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let table: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let here = room(&file, &src);
        if here == "lib" || here == "main" {
            continue;
        }
        let Some(allowed) = table.get(here.as_str()) else {
            wrong.push(format!("{here} is not placed in the table"));
            continue;
        };
        for other in imports(&std::fs::read_to_string(&file).unwrap()) {
            if other != here && !allowed.contains(&other.as_str()) {
                wrong.push(format!("{} imports {other}", file.strip_prefix(&src).unwrap().display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_domain_and_the_drivers_do_no_io_and_ask_no_clock() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let forbidden =
        ["tokio::", "sqlx::", "reqwest::", "std::fs", "std::net", "async fn", "Utc::now", "Instant::now", "tracing::"];
    let mut files = Vec::new();
    sources(&src.join("domain"), &mut files);
    sources(&src.join("vendors"), &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for word in forbidden.iter().filter(|word| line.contains(*word)) {
                wrong.push(format!("{}: {word}", file.strip_prefix(&src).unwrap().display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn all_sql_of_the_store_stands_in_its_one_file() {
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let mut files = Vec::new();
    sources(&store, &mut files);
    for file in files.iter().filter(|file| !file.ends_with("sql.rs")) {
        let text = std::fs::read_to_string(file).unwrap();
        for verb in ["\"SELECT ", "\"INSERT ", "\"UPDATE ", "\"DELETE "] {
            assert!(!text.contains(verb), "{} holds SQL of its own: {verb}", file.display());
        }
    }
}
