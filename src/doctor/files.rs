//! Who owns the files, and who may read them. Nothing is opened: only names are looked at, and no link is followed by one that
//! opros itself never makes.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Finding;
use super::advice;
use crate::config::{Config, Sources};
use crate::look::{self, Hands, Kind};
use crate::people;
use crate::store::sqlite::file::directory_of;

const OTHERS: u32 = 0o007;
const GROUP: u32 = 0o070;
const GROUP_AND_OTHERS_WRITE: u32 = 0o022;
const SETGID: u32 = 0o2000;
const GROUP_READS_AND_WRITES: u32 = 0o060;

/// What SQLite keeps beside a database.
pub const SUFFIXES: [&str; 4] = ["", "-wal", "-shm", "-journal"];
/// What opros keeps beside the store, by its ending.
const ENDINGS: [&str; 3] = ["lock", "witness", "ballast"];

pub fn look(sources: &Sources, config: &Config) -> Vec<Finding> {
    let store = directory_of(&config.store.path);
    let owner = std::fs::metadata(store).ok().map(|meta| meta.uid());
    let mut all: Vec<Finding> = Vec::new();
    all.extend(config_file(sources, owner));
    all.extend(store_directory(store, &config.store.path));
    if let Some(mailbox) = &config.mailbox.path {
        all.extend(mailbox_directory(mailbox, owner));
    }
    all.extend(socket(config, owner));
    all
}

enum Look {
    There(Metadata),
    Missing,
    Hidden(Finding),
}

/// Directories and configurations may be links; what an administrator has laid so is followed.
fn at(check: &'static str, path: &Path) -> Look {
    found(check, path, std::fs::metadata(path))
}

/// The directory of store or mailbox; what else bears that name is nothing to change the mode of.
fn directory_at(check: &'static str, path: &Path) -> Look {
    match at(check, path) {
        Look::There(meta) if !meta.is_dir() => {
            let what = format!("{} is {}, not a directory", path.display(), Kind::of(meta.file_type()).words());
            Look::Hidden(Finding::problem(check, what, "see who made it, and take it away by hand"))
        }
        look => look,
    }
}

fn found(check: &'static str, path: &Path, meta: std::io::Result<Metadata>) -> Look {
    match meta {
        Ok(meta) => Look::There(meta),
        Err(error) if error.kind() == ErrorKind::NotFound => Look::Missing,
        Err(error) => {
            let what = format!("{} cannot be looked at: {error}", path.display());
            Look::Hidden(Finding::warning(check, what, "run it as root: sudo opros doctor"))
        }
    }
}

fn config_file(sources: &Sources, owner: Option<u32>) -> Vec<Finding> {
    let Some((path, _)) = sources.config_file() else { return Vec::new() };
    let meta = match at("config", &path) {
        // What else it is was said when it was read.
        Look::There(meta) if !meta.is_file() => return Vec::new(),
        Look::There(meta) => meta,
        Look::Missing => return Vec::new(),
        Look::Hidden(finding) => return vec![finding],
    };
    let (shown, mode) = (path.display(), meta.mode() & 0o777);
    let mut all = Vec::new();
    if let Hands::Many(directory) = look::hands(&path) {
        let what = format!("{shown} can be exchanged by others: they may write to {directory}");
        all.push(Finding::problem("config", what, "keep it where only root can write, such as /etc/opros"));
    }
    if mode & GROUP_AND_OTHERS_WRITE != 0 {
        let what = format!("{shown} can be changed by others (mode {mode:04o})");
        all.push(Finding::problem("config", what, advice::mode("go-w", &path, &meta)));
    } else if let Some(owner) = owner.filter(|owner| meta.uid() != *owner && meta.uid() != 0) {
        let what = format!("{shown} belongs to {}, the store to {}", user(meta.uid()), user(owner));
        all.push(Finding::warning("config", what, advice::owner(&user(owner), &path)));
    }
    all
}

fn store_directory(directory: &Path, store: &Path) -> Vec<Finding> {
    let shown = directory.display();
    let meta = match directory_at("store", directory) {
        Look::There(meta) => meta,
        Look::Missing => {
            return vec![Finding::ok("store", format!("{shown} is not there yet; opros makes it at its first start"))];
        }
        Look::Hidden(finding) => return vec![finding],
    };
    let (mode, owner) = (meta.mode() & 0o777, user(meta.uid()));
    let mut all = Vec::new();
    if mode & (GROUP | OTHERS) != 0 {
        let what = format!("{shown} is open to others (mode {mode:04o})");
        all.push(Finding::problem("store", what, advice::mode("0700", directory, &meta)));
    }
    let own = ENDINGS.map(|ending| store.with_extension(ending));
    for (path, file) in beside(store).into_iter().chain(own.into_iter().filter_map(seen)) {
        if let Some(finding) = strange("store", &path, &file) {
            all.push(finding);
        } else if file.uid() != meta.uid() {
            let what = format!("{} belongs to {}, its directory to {owner}", path.display(), user(file.uid()));
            all.push(Finding::problem("store", what, advice::owner(&owner, &path)));
        }
    }
    if !all.is_empty() {
        return all;
    }
    vec![match found("store", store, std::fs::symlink_metadata(store)) {
        Look::There(_) => {
            Finding::ok("store", format!("{} is private (directory 0700, owner {owner})", store.display()))
        }
        Look::Missing => Finding::ok("store", format!("{} is not there yet; opros makes it", store.display())),
        Look::Hidden(finding) => finding,
    }]
}

/// The file and what SQLite keeps beside it, as the names stand there.
pub fn beside(path: &Path) -> Vec<(PathBuf, Metadata)> {
    SUFFIXES.into_iter().filter_map(|suffix| seen(named(path, suffix))).collect()
}

pub fn named(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn seen(path: PathBuf) -> Option<(PathBuf, Metadata)> {
    std::fs::symlink_metadata(&path).ok().map(|meta| (path, meta))
}

/// Neither SQLite nor opros makes anything but regular files with one name.
pub fn is_strange(meta: &Metadata) -> bool {
    !meta.is_file() || meta.nlink() > 1
}

fn strange(check: &'static str, path: &Path, meta: &Metadata) -> Option<Finding> {
    let shown = path.display();
    let kind = Kind::of(meta.file_type());
    if kind != Kind::Regular {
        let what = format!(
            "{shown} is {}, not a regular file: opros made no such thing; it was not opened, and must not be",
            kind.words()
        );
        return Some(Finding::problem(check, what, advice::removal(path)));
    }
    (meta.nlink() > 1).then(|| {
        let what = format!(
            "{shown} has another name elsewhere (a hard link): it may be another program's file, or a snapshot that opros \
             goes on changing; it was not opened, and its mode and owner must not be changed"
        );
        Finding::problem(check, what, format!("{}; a snapshot must be a copy: opros backup", advice::removal(path)))
    })
}

fn mailbox_directory(mailbox: &Path, owner: Option<u32>) -> Vec<Finding> {
    let directory = directory_of(mailbox);
    let shown = directory.display();
    let meta = match directory_at("mailbox", directory) {
        Look::There(meta) => meta,
        Look::Missing => {
            return vec![Finding::ok(
                "mailbox",
                format!("{shown} is not there yet; opros makes it at its first start"),
            )];
        }
        Look::Hidden(finding) => return vec![finding],
    };
    let mut all = Vec::new();
    all.extend(mailbox_mode(directory, &meta));
    if let Some(owner) = owner.filter(|owner| *owner != meta.uid()) {
        let what = format!("{shown} belongs to {}, the store to {}", user(meta.uid()), user(owner));
        all.push(Finding::problem("mailbox", what, advice::owner(&user(owner), directory)));
    }
    for (path, file) in beside(mailbox) {
        all.extend(mailbox_file(&path, &file, &meta));
    }
    if all.is_empty() {
        let mode = meta.mode() & 0o7777;
        all.push(Finding::ok("mailbox", format!("{shown} is for the group {} (mode {mode:04o})", group(meta.gid()))));
    }
    all
}

fn mailbox_mode(directory: &Path, meta: &Metadata) -> Option<Finding> {
    let (shown, mode) = (directory.display(), meta.mode() & 0o7777);
    let todo = || advice::mode("2770", directory, meta);
    if mode & OTHERS != 0 {
        let what = format!("{shown} is open to every user (mode {mode:04o}): each may order what is paid for");
        Some(Finding::problem("mailbox", what, todo()))
    } else if mode & GROUP != GROUP {
        let what = format!("{shown} is closed to its group (mode {mode:04o}): other programs cannot order");
        Some(Finding::warning("mailbox", what, todo()))
    } else if mode & SETGID == 0 {
        let what =
            format!("{shown} is not setgid (mode {mode:04o}): what others make beside the file may shut opros out");
        Some(Finding::warning("mailbox", what, todo()))
    } else {
        None
    }
}

fn mailbox_file(path: &Path, file: &Metadata, directory: &Metadata) -> Option<Finding> {
    if let Some(finding) = strange("mailbox", path, file) {
        return Some(finding);
    }
    let mode = file.mode() & 0o777;
    let is_shared = file.gid() == directory.gid() && mode & GROUP_READS_AND_WRITES == GROUP_READS_AND_WRITES;
    (!is_shared).then(|| {
        let (shown, group) = (path.display(), group(directory.gid()));
        let what = format!("{shown} is not for the group {group} (mode {mode:04o}, group {})", self::group(file.gid()));
        Finding::problem("mailbox", what, advice::shared(&group, path, file))
    })
}

fn socket(config: &Config, owner: Option<u32>) -> Option<Finding> {
    let path = &config.admin.socket;
    let shown = path.display();
    let meta = match found("socket", path, std::fs::symlink_metadata(path)) {
        Look::There(meta) => meta,
        // The daemon makes it, and its absence is said beside the daemon.
        Look::Missing => return None,
        Look::Hidden(finding) => return Some(finding),
    };
    let kind = Kind::of(meta.file_type());
    if kind != Kind::Socket {
        let what =
            format!("{shown} is {}, not a socket: opros does not start there, and nobody was asked", kind.words());
        return Some(Finding::problem("socket", what, advice::removal(path)));
    }
    let mode = meta.mode() & 0o777;
    if mode != config.admin.mode {
        let wanted = config.admin.mode;
        let what = format!("{shown} has the mode {mode:04o}, and admin.mode says {wanted:04o}");
        return Some(Finding::warning("socket", what, "start opros again, or: opros reload"));
    }
    if let Some(owner) = owner.filter(|owner| *owner != meta.uid()) {
        let what = format!("{shown} belongs to {}, the store to {}", user(meta.uid()), user(owner));
        return Some(Finding::warning(
            "socket",
            what,
            "is it another opros? Each needs a store and a socket of its own",
        ));
    }
    Some(Finding::ok(
        "socket",
        format!("{shown} is for {} and the group {} (mode {mode:04o})", user(meta.uid()), group(meta.gid())),
    ))
}

/// The name, or the number where the file does not know it.
pub fn user(uid: u32) -> String {
    people::user_name(uid).unwrap_or_else(|| uid.to_string())
}

fn group(gid: u32) -> String {
    people::group_name(gid).unwrap_or_else(|| gid.to_string())
}
