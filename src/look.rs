//! Looking at files that others may have put there. Root runs `opros doctor` and `config check` in places where the members
//! of a group write: a name there can lead to a named pipe that is waited for without end, to a device that does something
//! when it is opened, or by a link to a file that is nobody's business.
//!
//! So a file is pinned first, which opens nothing; what was pinned is judged; and only a regular file is opened.

use std::collections::BTreeSet;
use std::fs::{File, FileType, Metadata};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::people;

const ROOT: u32 = 0;
const STICKY: u32 = 0o1000;
const SETGID: u32 = 0o2000;
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;

/// What stands behind a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Regular,
    Directory,
    Link,
    Fifo,
    Socket,
    Device,
}

impl Kind {
    pub fn of(file_type: FileType) -> Kind {
        if file_type.is_file() {
            Kind::Regular
        } else if file_type.is_dir() {
            Kind::Directory
        } else if file_type.is_symlink() {
            Kind::Link
        } else if file_type.is_fifo() {
            Kind::Fifo
        } else if file_type.is_socket() {
            Kind::Socket
        } else {
            Kind::Device
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Kind::Regular => "a regular file",
            Kind::Directory => "a directory",
            Kind::Link => "a symbolic link",
            Kind::Fifo => "a named pipe (FIFO)",
            Kind::Socket => "a socket",
            Kind::Device => "a device",
        }
    }
}

/// Whether the last part of a path may be a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// Where the owner names the file: keys and configurations are mounted as links.
    Follow,
    /// Where others write.
    Refuse,
}

/// Why a file was not read. The words follow its path; none of its content is in them.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("is {}, not a regular file", .0.words())]
    NotAFile(Kind),
    #[error("is larger than {0} bytes")]
    TooLarge(u64),
    #[error("is not UTF-8")]
    NotText,
    /// As Windows writes it.
    #[error("is UTF-16, not UTF-8: save it as UTF-8")]
    Wide,
}

impl Refusal {
    pub fn is_missing(&self) -> bool {
        matches!(self, Refusal::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// Opens a regular file for reading, and nothing else; never waits.
pub fn open(path: &Path, links: Links) -> Result<(File, Metadata), Refusal> {
    let follow = if links == Links::Refuse { OFlags::NOFOLLOW } else { OFlags::empty() };
    let pinned = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC | follow, Mode::empty());
    let pinned = File::from(pinned.map_err(io::Error::from)?);
    let meta = pinned.metadata()?;
    match Kind::of(meta.file_type()) {
        Kind::Regular => {}
        other => return Err(Refusal::NotAFile(other)),
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    // The same inode, whatever its name leads to by now.
    match rustix::fs::open(format!("/proc/self/fd/{}", pinned.as_raw_fd()), flags, Mode::empty()) {
        Ok(file) => Ok((File::from(file), meta)),
        Err(rustix::io::Errno::NOENT) => Err(Refusal::Io(io::Error::other("/proc is not mounted"))),
        Err(error) => Err(Refusal::Io(error.into())),
    }
}

/// A whole file of at most so many bytes.
pub fn bytes(path: &Path, links: Links, largest: u64) -> Result<(Vec<u8>, Metadata), Refusal> {
    let (file, meta) = open(path, links)?;
    if meta.len() > largest {
        return Err(Refusal::TooLarge(largest));
    }
    let mut bytes = Vec::new();
    file.take(largest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > largest {
        return Err(Refusal::TooLarge(largest));
    }
    Ok((bytes, meta))
}

/// What the caller himself hands over: nobody else's name, and his to wait for.
const OWN: [&str; 4] = ["/dev/null", "/dev/stdin", "/dev/fd/", "/proc/self/fd/"];

/// A file that its owner names, as text; a stream of his own, such as a shell's `<(…)`, is taken too.
pub fn named_text(path: &Path, largest: u64) -> Result<String, Refusal> {
    let is_own = path
        .to_str()
        .is_some_and(|path| OWN.iter().any(|own| path == *own || own.ends_with('/') && path.starts_with(own)));
    if !is_own {
        return text(path, Links::Follow, largest);
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(largest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > largest {
        return Err(Refusal::TooLarge(largest));
    }
    decoded(bytes)
}

/// As text.
pub fn decoded(bytes: Vec<u8>) -> Result<String, Refusal> {
    String::from_utf8(bytes).map_err(|error| match error.as_bytes() {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => Refusal::Wide,
        _ => Refusal::NotText,
    })
}

/// The same as text.
pub fn text(path: &Path, links: Links, largest: u64) -> Result<String, Refusal> {
    let (bytes, _) = bytes(path, links, largest)?;
    decoded(bytes)
}

/// Who can exchange what a path leads to, beside root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hands {
    /// Nobody, or these users, each the owner of a directory on the way.
    Owners(BTreeSet<u32>),
    /// The members of a group, or everybody: by this directory.
    Many(String),
}

/// Looks at each directory from `/` to the one that holds the path's last part; where links lead, too.
pub fn hands(path: &Path) -> Hands {
    let lexical = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut owners = BTreeSet::new();
    let real = std::fs::canonicalize(&lexical).ok();
    for way in [Some(lexical), real].into_iter().flatten() {
        if let Some(many) = along(&way, &mut owners) {
            return Hands::Many(many);
        }
    }
    Hands::Owners(owners)
}

fn along(path: &Path, owners: &mut BTreeSet<u32>) -> Option<String> {
    let steps: Vec<&Path> = path.ancestors().collect();
    for pair in steps.windows(2) {
        let [entry, directory] = pair else { continue };
        let Ok(meta) = std::fs::metadata(directory) else { continue };
        // In a sticky directory only what is there already, and is another's, can be exchanged.
        let kept = std::fs::symlink_metadata(entry).map_or(true, |entry| is_trusted(entry.uid()));
        let many = meta.mode() & OTHERS_WRITE != 0 || (meta.mode() & GROUP_WRITES != 0 && !is_private_group(&meta));
        if many && !(meta.mode() & STICKY != 0 && kept) {
            return Some(directory.display().to_string());
        }
        if !is_trusted(meta.uid()) {
            owners.insert(meta.uid());
        }
    }
    None
}

/// A group that is the owner's own, as distributions make one for each user: nobody else is in it. A directory that is setgid is
/// meant to be shared.
fn is_private_group(meta: &Metadata) -> bool {
    meta.mode() & SETGID == 0
        && meta.gid() != ROOT
        && people::user_name(meta.uid()).is_some_and(|owner| people::is_own_group(&owner, meta.gid()))
}

/// Root, and whoever asks: he harms nobody but himself.
pub fn is_trusted(uid: u32) -> bool {
    uid == ROOT || uid == rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn nothing_but_a_regular_file_is_opened_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "words").expect("a file");
        symlink(at("file"), at("link")).expect("a link");
        symlink("/dev/zero", at("zero")).expect("a link");
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .expect("a FIFO");
        symlink(at("fifo"), at("to-fifo")).expect("a link");
        let _listener = UnixListener::bind(at("socket")).expect("a socket");
        std::fs::create_dir(at("dir")).expect("a directory");
        File::create(at("sparse")).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
        let table = [
            ("file", Links::Refuse, "words"),
            ("link", Links::Follow, "words"),
            ("link", Links::Refuse, "is a symbolic link, not a regular file"),
            ("zero", Links::Follow, "is a device, not a regular file"),
            ("zero", Links::Refuse, "is a symbolic link, not a regular file"),
            ("fifo", Links::Refuse, "is a named pipe (FIFO), not a regular file"),
            ("to-fifo", Links::Follow, "is a named pipe (FIFO), not a regular file"),
            ("socket", Links::Refuse, "is a socket, not a regular file"),
            ("dir", Links::Follow, "is a directory, not a regular file"),
            ("sparse", Links::Refuse, "is larger than 1024 bytes"),
            ("none", Links::Refuse, "cannot be read: No such file or directory (os error 2)"),
        ];
        for (name, links, words) in table {
            let found = text(&at(name), links, 1024).unwrap_or_else(|refusal| refusal.to_string());
            assert_eq!(found, words, "{name} {links:?}");
        }
    }

    #[test]
    fn whoever_may_write_on_the_way_has_his_hands_on_the_path() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        let chmod =
            |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
        std::fs::create_dir_all(at("shared/deep")).expect("directories");
        std::fs::write(at("file"), "").expect("a file");
        std::fs::write(at("shared/deep/file"), "").expect("a file");
        symlink(at("shared/deep/file"), at("link")).expect("a link");
        assert_eq!(hands(&at("shared/deep/file")), Hands::Owners(BTreeSet::new()));
        for (mode, many) in [(0o770, true), (0o707, true), (0o755, false), (0o1777, false)] {
            chmod(&at("shared"), mode);
            let expected =
                if many { Hands::Many(at("shared").display().to_string()) } else { Hands::Owners(BTreeSet::new()) };
            assert_eq!(hands(&at("shared/deep/file")), expected, "{mode:o}");
            assert_eq!(hands(&at("link")), expected, "{mode:o}, by a link");
            assert_eq!(hands(&at("file")), Hands::Owners(BTreeSet::new()), "{mode:o}");
        }
    }
}
