//! Files by what is in them: `<root>/ab/abcdef…`, the name being the SHA-256 of the content. Nothing that a vendor says
//! ever becomes part of a path.
//!
//! Blocking: callers on the runtime go through `spawn_blocking`. Once [`FileStore::put`] has returned, the file survives a
//! power cut; before that there is no file of that name.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

/// The SHA-256 of a file's content, in lower-case hex: the one form of it that can stand in a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileHash(String);

impl FileHash {
    pub fn of(content: &[u8]) -> Self {
        Self::from_digest(&Sha256::digest(content))
    }

    fn from_digest(digest: &[u8]) -> Self {
        Self(crate::domain::exchange::hex(digest))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for FileHash {
    type Err = NoHash;
    fn from_str(text: &str) -> Result<Self, NoHash> {
        let hex = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hex { Ok(Self(text.to_owned())) } else { Err(NoHash) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a file's hash is 64 lower-case hex digits")]
pub struct NoHash;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    pub hash: FileHash,
    pub size: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("the file is larger than the limit of {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("the stored file {0} is damaged: its content has another hash")]
    Damaged(FileHash),
    #[error("the file store: {context}: {source}")]
    Io {
        context: &'static str,
        #[source]
        source: io::Error,
    },
}

fn at(context: &'static str) -> impl FnOnce(io::Error) -> FileError {
    move |source| FileError::Io { context, source }
}

/// Where unfinished files lie; on the same file system, so that a rename is enough.
const UNFINISHED: &str = "unfinished";
const PRIVATE_DIRECTORY: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;

#[derive(Debug, Clone)]
pub struct FileStore {
    root: PathBuf,
    /// Bytes a file. It only grows: what was let in once must stay readable.
    limit: Arc<AtomicU64>,
}

impl FileStore {
    /// Makes the directory where it is not there, and clears away what a crash left unfinished. `limit`: bytes a file.
    /// One process at a time: the store's lock sees to that.
    pub fn open(root: impl Into<PathBuf>, limit: u64) -> Result<Self, FileError> {
        let store = Self { root: root.into(), limit: Arc::new(AtomicU64::new(limit)) };
        let unfinished = store.root.join(UNFINISHED);
        // The root may be a link: an operator's way to a larger disk.
        if !store.root.is_dir() {
            private_directory(&store.root).map_err(at("making its directory"))?;
        }
        private_directory(&unfinished).map_err(at("making its directory"))?;
        for entry in fs::read_dir(&unfinished).map_err(at("clearing unfinished files"))? {
            let entry = entry.map_err(at("clearing unfinished files"))?;
            fs::remove_file(entry.path()).map_err(at("clearing unfinished files"))?;
        }
        Ok(store)
    }

    /// Lets files be as large as this from now on.
    pub fn raise_limit(&self, limit: u64) {
        self.limit.fetch_max(limit, Relaxed);
    }

    fn limit(&self) -> u64 {
        self.limit.load(Relaxed)
    }

    /// Stores a file; the same content again is the same file.
    pub fn put(&self, content: &[u8]) -> Result<StoredFile, FileError> {
        let mut new = self.begin()?;
        new.write(content)?;
        new.finish()
    }

    /// A file that comes in pieces. Dropped unfinished, it leaves nothing.
    pub fn begin(&self) -> Result<NewFile<'_>, FileError> {
        let temp = tempfile::Builder::new()
            .prefix("new-")
            .permissions(fs::Permissions::from_mode(PRIVATE_FILE))
            .tempfile_in(self.root.join(UNFINISHED))
            .map_err(at("making a file"))?;
        Ok(NewFile { store: self, temp, digest: Sha256::new(), size: 0 })
    }

    /// The content, verified; none when there is no such file.
    pub fn get(&self, hash: &FileHash) -> Result<Option<Vec<u8>>, FileError> {
        let Some(file) = self.open_file(hash)? else { return Ok(None) };
        let mut content = Vec::new();
        // One byte more than was ever let in: enough to see that something else lies there.
        file.take(self.limit().saturating_add(1)).read_to_end(&mut content).map_err(at("reading a file"))?;
        if FileHash::of(&content) == *hash { Ok(Some(content)) } else { Err(FileError::Damaged(hash.clone())) }
    }

    /// The file itself, to be streamed; its content is not verified.
    pub fn open_file(&self, hash: &FileHash) -> Result<Option<File>, FileError> {
        let flags = (OFlags::NOFOLLOW | OFlags::CLOEXEC).bits();
        match OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(self.path(hash)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at("opening a file")(error)),
        }
    }

    /// Retention: whether it was there.
    pub fn remove(&self, hash: &FileHash) -> Result<bool, FileError> {
        match fs::remove_file(self.path(hash)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(at("removing a file")(error)),
        }
    }

    /// Stored files that are older than this by the file system's own clock, one shelf after another.
    pub fn older_than(&self, age: Duration, each_shelf: &mut dyn FnMut(Vec<FileHash>)) -> Result<(), FileError> {
        let now = self.begin()?.temp.as_file().metadata().and_then(|meta| meta.modified());
        let now = now.map_err(at("asking for the time"))?;
        for shelf in fs::read_dir(&self.root).map_err(at("listing files"))? {
            let shelf = shelf.map_err(at("listing files"))?.path();
            if !shelf.is_dir() || shelf.ends_with(UNFINISHED) {
                continue;
            }
            let mut old = Vec::new();
            for entry in fs::read_dir(&shelf).map_err(at("listing files"))? {
                let entry = entry.map_err(at("listing files"))?;
                let modified = entry.metadata().and_then(|meta| meta.modified()).map_err(at("listing files"))?;
                let is_old = now.duration_since(modified).is_ok_and(|lies| lies > age);
                let hash = entry.file_name().to_str().and_then(|name| name.parse().ok());
                old.extend(hash.filter(|_| is_old));
            }
            each_shelf(old);
        }
        Ok(())
    }

    fn shelf(&self, hash: &FileHash) -> PathBuf {
        self.root.join(&hash.0[..2])
    }

    fn path(&self, hash: &FileHash) -> PathBuf {
        self.shelf(hash).join(&hash.0)
    }
}

/// A file in the making.
#[derive(Debug)]
pub struct NewFile<'a> {
    store: &'a FileStore,
    temp: NamedTempFile,
    digest: Sha256,
    size: u64,
}

impl NewFile<'_> {
    pub fn write(&mut self, piece: &[u8]) -> Result<(), FileError> {
        self.size = self.size.saturating_add(piece.len() as u64);
        let limit = self.store.limit();
        if self.size > limit {
            return Err(FileError::TooLarge { limit });
        }
        self.digest.update(piece);
        self.temp.write_all(piece).map_err(at("writing a file"))
    }

    /// Makes it lasting: content first, then its name, then the directory that holds the name.
    pub fn finish(self) -> Result<StoredFile, FileError> {
        let stored = StoredFile { hash: FileHash::from_digest(&self.digest.finalize()), size: self.size };
        let shelf = self.store.shelf(&stored.hash);
        // Over an older one of the same name too: that one may be damaged.
        self.temp.as_file().sync_all().map_err(at("syncing a file"))?;
        private_directory(&shelf).map_err(at("making its directory"))?;
        let path = self.store.path(&stored.hash);
        self.temp.persist(path).map_err(|error| at("naming a file")(error.error))?;
        sync_directory(&shelf).map_err(at("syncing its directory"))?;
        Ok(stored)
    }
}

/// Makes a directory for us alone, and its name lasting.
fn private_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(PRIVATE_DIRECTORY).create(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_directory),
        // A link is no directory of ours, wherever it leads.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.symlink_metadata()?.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests;
