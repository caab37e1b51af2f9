//! Commands that whoever reads the report may copy, root above all.
//!
//! A command names its file by a path, and whoever may write to a directory on the way can exchange what the path leads to. So
//! a command stands here only where nobody can do that who would gain by it; elsewhere the words say what must be so, and that
//! it must be done by hand.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::files::user;
use crate::look::{Hands, hands, is_trusted};
use crate::people;

/// A change of mode: by the file's owner, who can open nothing with it that is not his.
pub fn mode(mode: &str, path: &Path, meta: &Metadata) -> String {
    let command = format!("chmod {mode} {}", quoted(path));
    match hands(path) {
        Hands::Owners(owners) if owners.is_empty() => command,
        Hands::Owners(owners) if owners.len() == 1 && owners.contains(&meta.uid()) => {
            format!("sudo -u {} {command}", account(meta.uid()))
        }
        Hands::Owners(_) => by_hand(&format!("give it the mode {mode}")),
        Hands::Many(_) => by_hand(&format!("give it the mode {mode}")),
    }
}

/// Another owner; a link is not followed.
pub fn owner(name: &str, path: &Path) -> String {
    match hands(path) {
        Hands::Owners(_) => format!("chown --no-dereference {name}: {}", quoted(path)),
        Hands::Many(_) => by_hand(&format!("give it to {name}")),
    }
}

/// For the members of a group, to read and write.
pub fn shared(group: &str, path: &Path, meta: &Metadata) -> String {
    let path_of = quoted(path);
    match hands(path) {
        Hands::Owners(owners) if owners.is_empty() => {
            format!("chgrp --no-dereference {group} {path_of} && chmod 0660 {path_of}")
        }
        Hands::Owners(_) | Hands::Many(_) => format!(
            "{}; SQLite gives -wal and -shm the mode of the file itself",
            by_hand(&format!("let its owner, {}, share it with the group {group} (mode 0660)", user(meta.uid())))
        ),
    }
}

/// Takes a name away. What it leads to stays, whatever it is; a directory is not taken.
pub fn removal(path: &Path) -> String {
    let directory = crate::store::sqlite::file::directory_of(path);
    let command = format!("rm -- {}", quoted(path));
    match hands(directory) {
        Hands::Owners(owners) => {
            let whose = std::fs::metadata(directory).ok().map(|meta| meta.uid()).filter(|uid| !is_trusted(*uid));
            match whose {
                Some(uid) => format!("see who made it, then: sudo -u {} {command}", account(uid)),
                None if owners.is_empty() => format!("see who made it, then: {command}"),
                None => by_hand("see who made it, and take it away"),
            }
        }
        Hands::Many(_) => by_hand("see who made it, and take it away"),
    }
}

fn by_hand(what: &str) -> String {
    format!("{what}, by hand: others can exchange what the name leads to, so look first and follow no link")
}

/// As sudo wants it.
fn account(uid: u32) -> String {
    people::user_name(uid).unwrap_or_else(|| format!("'#{uid}'"))
}

/// For a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:,".contains(c);
    if text.chars().all(plain) && !text.starts_with('-') { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_for_the_shell_where_it_must_be() {
        for (path, text) in
            [("/var/lib/x.db", "/var/lib/x.db"), ("/a b", "'/a b'"), ("/a;rm -r", "'/a;rm -r'"), ("/o'x", r"'/o'\''x'")]
        {
            assert_eq!(quoted(Path::new(path)), text);
        }
    }
}
