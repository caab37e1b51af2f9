//! Who owns the files, and who may read them.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Finding;
use crate::config::{Config, Sources};
use crate::store::sqlite::file::directory_of;

const OTHERS: u32 = 0o007;
const GROUP: u32 = 0o070;
const GROUP_AND_OTHERS_WRITE: u32 = 0o022;
const SETGID: u32 = 0o2000;
const GROUP_READS_AND_WRITES: u32 = 0o060;

pub fn look(sources: &Sources, config: &Config) -> Vec<Finding> {
    let store = directory_of(&config.store.path);
    let owner = std::fs::metadata(store).ok().map(|meta| meta.uid());
    let mut all: Vec<Finding> = Vec::new();
    all.extend(config_file(sources, owner));
    all.push(store_directory(store, &config.store.path));
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

fn at(check: &'static str, path: &Path) -> Look {
    match std::fs::metadata(path) {
        Ok(meta) => Look::There(meta),
        Err(error) if error.kind() == ErrorKind::NotFound => Look::Missing,
        Err(error) => {
            let what = format!("{} cannot be looked at: {error}", path.display());
            Look::Hidden(Finding::warning(check, what, "run it as root: sudo opros doctor"))
        }
    }
}

fn config_file(sources: &Sources, owner: Option<u32>) -> Option<Finding> {
    let (path, _) = sources.config_file()?;
    let meta = match at("config", &path) {
        Look::There(meta) => meta,
        Look::Missing => return None,
        Look::Hidden(finding) => return Some(finding),
    };
    let (shown, mode) = (path.display(), meta.mode() & 0o777);
    if mode & GROUP_AND_OTHERS_WRITE != 0 {
        let what = format!("{shown} can be changed by others (mode {mode:04o})");
        return Some(Finding::problem("config", what, format!("chmod go-w {shown}")));
    }
    let strange = owner.filter(|owner| meta.uid() != *owner && meta.uid() != 0)?;
    let what = format!("{shown} belongs to {}, the store to {}", user(meta.uid()), user(strange));
    Some(Finding::warning("config", what, format!("chown {} {shown}", user(strange))))
}

fn store_directory(directory: &Path, store: &Path) -> Finding {
    let shown = directory.display();
    let meta = match at("store", directory) {
        Look::There(meta) => meta,
        Look::Missing => {
            return Finding::ok("store", format!("{shown} is not there yet; opros makes it at its first start"));
        }
        Look::Hidden(finding) => return finding,
    };
    let (mode, owner) = (meta.mode() & 0o777, user(meta.uid()));
    if mode & (GROUP | OTHERS) != 0 {
        let what = format!("{shown} is open to others (mode {mode:04o})");
        return Finding::problem("store", what, format!("chmod 0700 {shown}"));
    }
    let strange = beside(store).into_iter().find(|(_, file)| file.uid() != meta.uid());
    if let Some((path, file)) = strange {
        let what = format!("{} belongs to {}, its directory to {owner}", path.display(), user(file.uid()));
        return Finding::problem("store", what, format!("chown {owner}: {}", path.display()));
    }
    match at("store", store) {
        Look::There(_) => {
            Finding::ok("store", format!("{} is private (directory 0700, owner {owner})", store.display()))
        }
        Look::Missing => Finding::ok("store", format!("{} is not there yet; opros makes it", store.display())),
        Look::Hidden(finding) => finding,
    }
}

/// The file and what SQLite keeps beside it.
fn beside(path: &Path) -> Vec<(PathBuf, Metadata)> {
    let names = ["", "-wal", "-shm"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    });
    names.into_iter().filter_map(|path| std::fs::metadata(&path).ok().map(|meta| (path, meta))).collect()
}

fn mailbox_directory(mailbox: &Path, owner: Option<u32>) -> Vec<Finding> {
    let directory = directory_of(mailbox);
    let shown = directory.display();
    let meta = match at("mailbox", directory) {
        Look::There(meta) => meta,
        Look::Missing => {
            return vec![Finding::ok(
                "mailbox",
                format!("{shown} is not there yet; opros makes it at its first start"),
            )];
        }
        Look::Hidden(finding) => return vec![finding],
    };
    let (mode, group) = (meta.mode() & 0o7777, group(meta.gid()));
    let mut all = Vec::new();
    if mode & OTHERS != 0 {
        let what = format!("{shown} is open to every user (mode {mode:04o}): each may order what is paid for");
        all.push(Finding::problem("mailbox", what, format!("chmod 2770 {shown}")));
    } else if mode & GROUP != GROUP {
        let what = format!("{shown} is closed to its group (mode {mode:04o}): other programs cannot order");
        all.push(Finding::warning("mailbox", what, format!("chmod 2770 {shown}")));
    } else if mode & SETGID == 0 {
        let what =
            format!("{shown} is not setgid (mode {mode:04o}): what others make beside the file may shut opros out");
        all.push(Finding::warning("mailbox", what, format!("chmod 2770 {shown}")));
    }
    if let Some(owner) = owner.filter(|owner| *owner != meta.uid()) {
        let what = format!("{shown} belongs to {}, the store to {}", user(meta.uid()), user(owner));
        all.push(Finding::problem("mailbox", what, format!("chown {}: {shown}", user(owner))));
    }
    for (path, file) in beside(mailbox) {
        let shut = file.gid() != meta.gid() || file.mode() & GROUP_READS_AND_WRITES != GROUP_READS_AND_WRITES;
        if shut {
            let (path, mode) = (path.display(), file.mode() & 0o777);
            let what =
                format!("{path} is not for the group {group} (mode {mode:04o}, group {})", self::group(file.gid()));
            all.push(Finding::problem("mailbox", what, format!("chgrp {group} {path} && chmod 0660 {path}")));
        }
    }
    if all.is_empty() {
        all.push(Finding::ok("mailbox", format!("{shown} is for the group {group} (mode {mode:04o})")));
    }
    all
}

fn socket(config: &Config, owner: Option<u32>) -> Option<Finding> {
    let path = &config.admin.socket;
    let shown = path.display();
    let meta = match at("socket", path) {
        Look::There(meta) => meta,
        // The daemon makes it, and its absence is said beside the daemon.
        Look::Missing => return None,
        Look::Hidden(finding) => return Some(finding),
    };
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

pub fn user(uid: u32) -> String {
    named("/etc/passwd", uid)
}

fn group(gid: u32) -> String {
    named("/etc/group", gid)
}

/// The name, or the number where the file does not know it.
fn named(file: &str, number: u32) -> String {
    let number = number.to_string();
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let name = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(number.as_str())).then(|| name.to_owned())
    });
    name.unwrap_or(number)
}
