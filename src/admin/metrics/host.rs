//! The process, its files and its disk, its connections, its log.

use std::fs;
use std::path::Path;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::seconds;
use crate::admin::state::AdminState;
use crate::meters::{Book, Float};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ListenerLabel {
    listener: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LevelLabel {
    level: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LostLabel {
    /// `log` or `audit`.
    lines: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DatabaseLabel {
    /// `store` or `mailbox`.
    database: &'static str,
}

#[derive(Debug, Default)]
pub struct Host {
    started: Float,
    resident: Gauge,
    open_files: Gauge,
    database: Family<DatabaseLabel, Gauge>,
    wal: Family<DatabaseLabel, Gauge>,
    disk_free: Gauge,
    disk_floor: Gauge,
    ballast: Gauge,
    connections: Family<ListenerLabel, Gauge>,
    connections_limit: Family<ListenerLabel, Gauge>,
    made_room: Family<ListenerLabel, Counter>,
    lines: Family<LevelLabel, Counter>,
    lost: Family<LostLabel, Counter>,
}

impl Host {
    pub fn fill(&self, state: &AdminState) {
        let exports = state.exports();
        if let Some(at) = exports.started_at {
            self.started.set(seconds(at));
        }
        self.resident.set(resident().unwrap_or_default());
        self.open_files.set(fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as i64));
        for (database, path) in [("store", &exports.store), ("mailbox", &exports.mailbox)] {
            let Some(path) = path else { continue };
            // Only asked for their sizes: opening a database's file would drop SQLite's locks.
            let label = DatabaseLabel { database };
            self.database.get_or_create(&label).set(size(path));
            let mut wal = path.as_os_str().to_owned();
            wal.push("-wal");
            self.wal.get_or_create(&label).set(size(wal.as_ref()));
        }
        if let Some(store) = &exports.store {
            let directory = store.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if let Ok(room) = rustix::fs::statvfs(directory) {
                self.disk_free.set(room.f_bavail.saturating_mul(room.f_frsize).try_into().unwrap_or(i64::MAX));
            }
            self.disk_floor.set(exports.free_floor.try_into().unwrap_or(i64::MAX));
            self.ballast.set(size(&store.with_extension("ballast")));
        }
        for (listener, meters) in &exports.listeners {
            let label = ListenerLabel { listener };
            self.connections.get_or_create(&label).set(meters.connections.get());
            self.connections_limit.get_or_create(&label).set(meters.connections_limit.get());
            self.made_room.get_or_create(&label).inc_by(meters.made_room.get());
        }
        if let Ok(log) = state.log() {
            for (level, lines) in log.lines() {
                self.lines.get_or_create(&LevelLabel { level }).inc_by(lines);
            }
            for (lines, lost) in log.lost() {
                self.lost.get_or_create(&LostLabel { lines }).inc_by(lost);
            }
        }
    }

    pub fn register(&self, book: &mut Book) {
        book.add("process_start_time_seconds", "When the daemon was started", self.started.clone());
        book.add("process_resident_memory_bytes", "Memory that the process holds", self.resident.clone());
        book.add("process_open_fds", "File descriptors that the process holds", self.open_files.clone());
        book.add("database_bytes", "Size of the database's file", self.database.clone());
        book.add("database_wal_bytes", "Size of its write-ahead log", self.wal.clone());
        book.add("disk_free_bytes", "Free on the store's disk", self.disk_free.clone());
        book.add(
            "disk_floor_bytes",
            "With less free nothing new is ordered: store.free_floor",
            self.disk_floor.clone(),
        );
        book.add(
            "ballast_bytes",
            "The file that is given up when the disk is full; 0 once it was",
            self.ballast.clone(),
        );
        book.add("connections", "Open connections", self.connections.clone());
        book.add("connections_limit", "How many there may be", self.connections_limit.clone());
        let help = "Silent connections that were closed because all places were taken";
        book.add("connections_made_room", help, self.made_room.clone());
        book.add("log_lines", "Lines that were logged", self.lines.clone());
        let help = "Lines that were lost because whoever reads the log did not take them";
        book.add("log_lines_lost", help, self.lost.clone());
    }
}

fn size(path: &Path) -> i64 {
    fs::metadata(path).map_or(0, |meta| meta.len().try_into().unwrap_or(i64::MAX))
}

/// In bytes, by `/proc/self/statm`, which counts pages.
fn resident() -> Option<i64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: i64 = text.split_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(rustix::param::page_size().try_into().ok()?)
}
