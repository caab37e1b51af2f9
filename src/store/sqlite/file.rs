//! The file itself: who owns it, where it lies, and whether it is still the one that was opened.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Why a store cannot be opened; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("the store's directory {path} cannot be made: {error}. Make it for the user that opros runs as, mode 0700")]
    Directory { path: PathBuf, error: io::Error },
    #[error(
        "another opros runs on the store {path} (its lock is held). Stop it first, or give this one a store of its own"
    )]
    Owned { path: PathBuf },
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

/// Holds the operating system's lock on the store for as long as it lives.
#[derive(Debug)]
pub struct Ownership {
    _lock: File,
}

pub fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the directory private and takes the lock.
pub fn own(path: &Path, allow_network_fs: bool) -> Result<Ownership, FileError> {
    let directory = directory_of(path);
    if !directory.exists() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| FileError::Directory { path: directory.to_owned(), error })?;
    }
    if let Some(kind) = network_kind(directory).filter(|_| !allow_network_fs) {
        return Err(FileError::Network { path: path.to_owned(), kind });
    }
    let lock_path = path.with_extension("lock");
    let lock = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&lock_path)
        .map_err(|error| FileError::Lock { path: lock_path.clone(), error })?;
    match lock.try_lock() {
        Ok(()) => Ok(Ownership { _lock: lock }),
        Err(TryLockError::WouldBlock) => Err(FileError::Owned { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(FileError::Lock { path: lock_path, error }),
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
