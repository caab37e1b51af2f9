//! `[admin]`: the socket, the socket for reading, and TCP with a token.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::reader::Section;
use super::sections::{Admin, AdminTokens};

/// `sun_path` of Linux, without its NUL.
const LONGEST_SOCKET_PATH: usize = 107;

/// It is made as `/.opXXXX/s` beside its place and moved there (`listener::unix`), and that path must fit, too.
const MADE_BESIDE: usize = "/.opXXXX/s".len();

const OTHERS: u32 = 0o007;
const OTHERS_CONNECT: u32 = 0o002;

/// Shorter ones can be guessed.
const SHORTEST_TOKEN: usize = 16;

pub(super) fn read(root: &Section<'_>) -> Admin {
    let section = root.section("admin");
    let socket: PathBuf = section.path("socket");
    check_length(&section, "socket", &socket);
    let mode = mode(&section, "mode");
    if mode & OTHERS != 0 {
        section.warning("mode", "lets every user of this machine submit paid jobs; \"0660\" lets the group");
    }
    let read_socket = section.path_or_none("read_socket");
    if let Some(path) = &read_socket {
        check_length(&section, "read_socket", path);
        if *path == socket && section.is_sound("read_socket") {
            section.problem("read_socket", "must not be admin.socket: it is the one over which nothing can be changed");
        }
    }
    let read_mode = self::mode(&section, "read_mode");
    if read_mode & OTHERS_CONNECT != 0 && read_socket.is_some() {
        section.warning("read_mode", "lets every user of this machine read jobs and results; \"0660\" lets the group");
    }
    let admin = Admin {
        socket,
        mode,
        group: group(&section, "group"),
        read_socket,
        read_mode,
        read_group: group(&section, "read_group"),
        listen: section.address_or_none("listen"),
        allow_remote: section.flag("allow_remote"),
        hosts: hosts(&section),
        tokens: AdminTokens { all: token(&section, "token"), read: token(&section, "read_token") },
    };
    check_tcp(&section, &admin);
    section.finish();
    admin
}

fn check_length(section: &Section<'_>, key: &str, path: &Path) {
    let directory = path.parent().map_or(0, |directory| directory.as_os_str().len()).max(1);
    if path.as_os_str().len() > LONGEST_SOCKET_PATH {
        let message = format!("must be at most {LONGEST_SOCKET_PATH} bytes long, as every Unix socket's path");
        section.problem(key, message);
    } else if directory + MADE_BESIDE > LONGEST_SOCKET_PATH {
        let most = LONGEST_SOCKET_PATH - MADE_BESIDE;
        let message =
            format!("must lie in a directory whose path is at most {most} bytes long; this one's has {directory}");
        section.problem(key, message);
    }
}

fn mode(section: &Section<'_>, key: &str) -> u32 {
    let text = section.text(key);
    let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| is_octal && *mode <= 0o777);
    if mode.is_none() && section.is_sound(key) {
        section.problem(key, "must be octal permissions in quotes, such as \"0660\"");
    }
    mode.unwrap_or_default()
}

/// Names only: addresses are let in anyway, and which port it is does not matter.
fn hosts(section: &Section<'_>) -> Vec<String> {
    let names = section.texts("hosts");
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if !names.iter().all(|name| name.strip_suffix('.').unwrap_or(name).split('.').all(is_label)) {
        section.problem("hosts", "must be host names without scheme, port and path, such as [\"opros.example.com\"]");
    }
    names.into_iter().map(|name| name.strip_suffix('.').unwrap_or(&name).to_ascii_lowercase()).collect()
}

/// Whether there is such a group is seen where the socket is made.
fn group(section: &Section<'_>, key: &str) -> Option<String> {
    Some(section.text(key)).filter(|name| !name.is_empty())
}

fn token(section: &Section<'_>, key: &str) -> Option<SecretString> {
    let token = section.secret_or_none(key)?;
    let text = token.expose_secret();
    let is_good = text.len() >= SHORTEST_TOKEN && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_good && section.is_sound(key) {
        let what =
            format!("must have at least {SHORTEST_TOKEN} visible ASCII characters, such as: openssl rand -hex 32");
        section.problem(key, what);
    }
    Some(token)
}

/// TCP asks nobody who he is: without a token everybody on this machine could order, and further away everybody.
fn check_tcp(section: &Section<'_>, admin: &Admin) {
    let AdminTokens { all, read } = &admin.tokens;
    if let (Some(all), Some(read)) = (all, read)
        && all.expose_secret() == read.expose_secret()
    {
        section.problem("read_token", "must not be admin.token: whoever has it could change everything");
    }
    let Some(listen) = admin.listen else {
        for (key, token) in [("token", all), ("read_token", read)] {
            if token.is_some() {
                section.warning(key, "is of no use without admin.listen");
            }
        }
        return;
    };
    if all.is_none() && read.is_none() && section.is_sound("token") && section.is_sound("read_token") {
        section.problem("listen", "needs a token: set token_file, or read_token_file for reading alone");
    }
    if !listen.ip().is_loopback() && !admin.allow_remote {
        section.problem(
            "listen",
            "is no loopback address: the token and all data would go over the network in plain text. Put a proxy with TLS \
             before a loopback address; or, in a network that you trust, say allow_remote = true",
        );
    }
}
