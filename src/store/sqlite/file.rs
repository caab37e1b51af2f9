//! The file itself: who owns it, where it lies, and whether it is still the one that was opened.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

/// Why a store cannot be opened; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("the store's directory {path} cannot be made: {error}. Make it for the user that opros runs as, mode 0700")]
    Directory { path: PathBuf, error: io::Error },
    #[error(
        "another opros runs on the store {path} (its lock is held). Stop it first, or give this one a store of its own"
    )]
    Owned { path: PathBuf },
    #[error("the store {path} is not a regular file. Move away what lies there, or set store.path to another place")]
    NotAFile { path: PathBuf },
    #[error("the store {path} was replaced while it was being opened; start opros again")]
    Replaced { path: PathBuf },
    #[error("the store's lock {path} cannot be taken: {error}")]
    Lock { path: PathBuf, error: io::Error },
    #[error(
        "the store {path} lies on a network file system ({kind}), where SQLite's locks cannot be trusted. \
         Move it to a local disk, or set store.allow_network_fs = true if you know better"
    )]
    Network { path: PathBuf, kind: &'static str },
    #[error("the store {path} cannot be read: {error}")]
    Read { path: PathBuf, error: io::Error },
}

/// Holds the operating system's locks on the store for as long as it lives: one on its name, and one on the file itself, which
/// may have several names.
///
/// Architecture invariant: closing any descriptor of a file drops the locks that SQLite holds on it in this process. So this is
/// taken before SQLite opens the file, and dropped after the last connection to it is closed.
#[derive(Debug)]
pub struct Ownership {
    name: File,
    file: Option<File>,
}

pub fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the directory private and takes the lock on the store's name. The file, if there is one, is locked next
/// ([`Ownership::lock_file`]).
pub fn own(path: &Path, allow_network_fs: bool) -> Result<Ownership, FileError> {
    let directory = directory_of(path);
    if !directory.exists() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| FileError::Directory { path: directory.to_owned(), error })?;
    }
    if let Some(kind) = network_kind(directory).or_else(|| network_kind(path)).filter(|_| !allow_network_fs) {
        return Err(FileError::Network { path: path.to_owned(), kind });
    }
    let lock_path = path.with_extension("lock");
    let failed = |error| FileError::Lock { path: lock_path.clone(), error };
    let (lock, _) = open_plain(&lock_path, File::options().read(true).write(true).create(true)).map_err(failed)?;
    take(&lock, path, &lock_path)?;
    Ok(Ownership { name: lock, file: None })
}

fn take(file: &File, store: &Path, path: &Path) -> Result<(), FileError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(FileError::Owned { path: store.to_owned() }),
        Err(TryLockError::Error(error)) => Err(FileError::Lock { path: path.to_owned(), error }),
    }
}

/// Opens without waiting for whoever may be at the other end, and says whether it is a regular file.
pub fn open_plain(path: &Path, options: &mut fs::OpenOptions) -> io::Result<(File, fs::Metadata)> {
    let flags = (OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
    let file = options.truncate(false).mode(0o600).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    if meta.is_file() { Ok((file, meta)) } else { Err(io::Error::other("it is not a regular file")) }
}

impl Ownership {
    /// The lock on the file itself; makes the file where there is none. It holds for every name that the file has.
    pub fn lock_file(&mut self, path: &Path) -> Result<(), FileError> {
        let read = |error| FileError::Read { path: path.to_owned(), error };
        if fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
            return Err(FileError::NotAFile { path: path.to_owned() });
        }
        if network_kind(directory_of(path)).or_else(|| network_kind(path)).is_some() {
            // There such a lock is made of the very locks that SQLite takes.
            return Ok(());
        }
        let (file, meta) = open_plain(path, File::options().read(true).write(true).create(true)).map_err(read)?;
        take(&file, path, path)?;
        // Whoever put another file there meanwhile has a lock of its own on that one.
        if FileId::of(path).ok() != Some(FileId { device: meta.dev(), inode: meta.ino() }) {
            return Err(FileError::Replaced { path: path.to_owned() });
        }
        self.file = Some(file);
        Ok(())
    }

    /// The file that bears the lock on the name; it remembers how far the store had come.
    pub fn memory(&self) -> io::Result<File> {
        self.name.try_clone()
    }
}

/// Readable and writable by the daemon's user alone.
pub fn make_private(path: &Path) -> Result<(), FileError> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .map_err(|error| FileError::Read { path: path.to_owned(), error })
}

/// Which file this is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub fn of(path: &Path) -> io::Result<FileId> {
        let meta = fs::metadata(path)?;
        Ok(FileId { device: meta.dev(), inode: meta.ino() })
    }
}

/// Which file this is, in words that hold across restarts, mounts and renames: a copy has others. Device numbers do not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    inode: u64,
    /// When the file was made, in nanoseconds; not every file system knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    born: Option<String>,
    /// Where snapshots have the same numbers and times as what they are of: which of them it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subvolume: Option<String>,
}

impl Identity {
    /// None where numbers of files do not hold: on network file systems.
    pub fn of(path: &Path) -> io::Result<Option<Identity>> {
        let meta = fs::metadata(path)?;
        if network_kind(path).is_some() {
            return Ok(None);
        }
        let born = meta.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        let born = born.map(|born| born.as_nanos().to_string());
        Ok(Some(Identity { inode: meta.ino(), born, subvolume: subvolume(path) }))
    }

    /// What one of them does not know does not tell them apart.
    pub fn fits(&self, other: &Identity) -> bool {
        let agree = |one: &Option<String>, other: &Option<String>| one.is_none() || other.is_none() || one == other;
        self.inode == other.inode && agree(&self.born, &other.born) && agree(&self.subvolume, &other.subvolume)
    }
}

/// On btrfs and ZFS the file system's id is that of the subvolume or data set, and lasts.
fn subvolume(path: &Path) -> Option<String> {
    let magic = rustix::fs::statfs(path).ok()?.f_type as u64 & 0xffff_ffff;
    let is_lasting = matches!(magic, 0x9123_683e | 0x2fc1_2fc1);
    is_lasting.then(|| rustix::fs::statvfs(path).ok().map(|fs| format!("{:x}", fs.f_fsid)))?
}

/// The network file systems whose locks are known to lie, by their magic numbers (statfs(2)).
pub fn network_kind(directory: &Path) -> Option<&'static str> {
    let magic = rustix::fs::statfs(directory).ok()?.f_type as u64 & 0xffff_ffff;
    match magic {
        0x6969 => Some("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Some("SMB"),
        0x6573_5546 => Some("FUSE"),
        0x0102_1997 => Some("9p"),
        _ => None,
    }
}
