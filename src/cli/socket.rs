//! Which socket, and what to tell people when nobody answers there.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::people;

/// One line with what to do.
pub fn explain(socket: &Path, error: &io::Error) -> String {
    let at = socket.display();
    let advice = "Is it running? systemctl status opros; or give --socket PATH";
    match error.kind() {
        io::ErrorKind::NotFound => format!("opros is not answering at {at}: no such file. {advice}"),
        io::ErrorKind::ConnectionRefused => {
            format!("opros is not answering at {at}: the socket is there, but nobody listens. {advice}")
        }
        io::ErrorKind::PermissionDenied => format!("opros at {at} does not let you in: {}", who_may(socket)),
        _ => format!("opros is not answering at {at}: {error}. {advice}"),
    }
}

fn who_may(socket: &Path) -> String {
    let group = |path: &Path| std::fs::metadata(path).ok().map(|meta| group_name(meta.gid()));
    let (what, group) = match (group(socket), socket.parent().and_then(group)) {
        (Some(group), _) => ("the socket", group),
        (None, Some(group)) => ("its directory", group),
        (None, None) => return "permission denied. Ask who runs opros for access, or use sudo".to_owned(),
    };
    // Nobody should join root's group to read a list of jobs.
    if group == "root" || group == "0" {
        return format!("{what} belongs to root alone. Use sudo, or let opros run as its own user and group");
    }
    format!("{what} is for group {group}. Join it (sudo usermod -aG {group} \"$USER\", then log in again), or use sudo")
}

/// The group's name, or its number where /etc/group does not know it.
fn group_name(gid: u32) -> String {
    people::group_name(gid).unwrap_or_else(|| gid.to_string())
}
