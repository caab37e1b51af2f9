//! Binding a Unix socket without a moment in which the wrong ones may connect, and without taking anybody's file away.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use tokio::net::{UnixListener, UnixStream};

use super::Socket;

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("the directory {0} does not exist: create it, or set another path for the socket")]
    NoDirectory(PathBuf),
    #[error("{0} is there already and is no socket: opros does not replace it. Move it away, or set another path")]
    NotASocket(PathBuf),
    #[error("another opros answers at {0}: stop it first, or set another path for the socket")]
    Live(PathBuf),
    #[error(
        "the socket {path} cannot be given to the group with number {gid}: {source}. The user that opros runs as has to be a \
         member of it"
    )]
    Group { path: PathBuf, gid: u32, source: io::Error },
    #[error(
        "admin.{key}: there is no group {name:?} in /etc/group; make it (groupadd --system {name}), or name another"
    )]
    NoGroup { key: &'static str, name: String },
    #[error("cannot make the socket {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "systemd hands over {0}, and opros takes one listening Unix stream socket (opros.socket: ListenStream=/run/opros/admin.sock); \
         mend the socket unit, or disable it: opros then makes its socket itself"
    )]
    Handed(String),
}

impl BindError {
    /// Starting again does not help.
    pub fn is_config(&self) -> bool {
        matches!(self, BindError::Handed(_))
    }
}

/// A listening Unix socket; the file of one that was made here goes with it.
#[derive(Debug)]
pub struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: the file is removed only while it is ours. None of a socket that is systemd's.
    file: Option<(u64, u64)>,
}

impl UnixSocket {
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if self.file.is_some_and(|ours| identity(&self.path).is_ok_and(|file| file == ours))
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), error = %error, "the socket's file could not be removed");
        }
    }
}

/// The socket that systemd listens at already (socket activation), or else one that is made at `path`.
pub async fn open(path: &Path, mode: u32, group: Option<u32>) -> Result<Socket, BindError> {
    match inherit()? {
        Some(socket) => {
            if socket.path != path {
                tracing::warn!(
                    systemd = %socket.path.display(),
                    configured = %path.display(),
                    "systemd listens at another path than admin.socket, where clients look; make them the same"
                );
            }
            if let Some(differs) = differs(&socket.path, mode, group) {
                tracing::warn!(
                    systemd = differs.0,
                    configured = differs.1,
                    "systemd made the admin socket, so admin.mode and admin.group do not apply; set SocketMode= and SocketGroup= in opros.socket"
                );
            }
            Ok(Socket::Unix(socket))
        }
        None => bind_for(path, mode, group).await,
    }
}

/// Mode and group of the file as they are and as they should be, where the two differ.
fn differs(path: &Path, mode: u32, group: Option<u32>) -> Option<(String, String)> {
    let file = fs::symlink_metadata(path).ok()?;
    let (is, own) = (file.mode() & 0o777, file.gid());
    let wanted = group.unwrap_or(own);
    let words = |mode: u32, gid: u32| format!("mode {mode:04o}, group {gid}");
    (is != mode || own != wanted).then(|| (words(is, own), words(mode, wanted)))
}

/// What is handed over and cannot be served is refused: whoever set it up believes that somebody listens there.
fn inherit() -> Result<Option<UnixSocket>, BindError> {
    let mut handed = ListenFd::from_env();
    if handed.len() == 0 {
        return Ok(None);
    }
    if handed.len() > 1 {
        return Err(BindError::Handed(format!("{} sockets", handed.len())));
    }
    let wrong = |error: io::Error| BindError::Handed(format!("something else ({error})"));
    let Some(listener) = handed.take_unix_listener(0).map_err(wrong)? else { return Ok(None) };
    if !rustix::net::sockopt::socket_acceptconn(&listener).map_err(|error| wrong(error.into()))? {
        return Err(BindError::Handed("a socket that does not listen".to_owned()));
    }
    listener.set_nonblocking(true).map_err(wrong)?;
    let path = listener.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_owned));
    let listener = UnixListener::from_std(listener).map_err(wrong)?;
    Ok(Some(UnixSocket { listener, path: path.unwrap_or_default(), file: None }))
}

/// Binds at `path` with these permission bits. A socket that nobody answers at is replaced; anything else there is refused.
///
/// The socket is made in a private directory beside its place, gets its mode there and is then moved: umask, which belongs
/// to the whole process, plays no part, and nobody can connect before the mode is set.
pub async fn bind(path: &Path, mode: u32) -> Result<Socket, BindError> {
    bind_for(path, mode, None).await
}

/// The same for the members of another group than the daemon's own.
pub async fn bind_for(path: &Path, mode: u32, group: Option<u32>) -> Result<Socket, BindError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !directory.is_dir() {
        return Err(BindError::NoDirectory(directory.to_owned()));
    }
    make_way(path).await?;
    let failed = |source| BindError::Io { path: path.to_owned(), source };
    let private = tempfile::Builder::new()
        .prefix(".op")
        .rand_bytes(4)
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(directory)
        .map_err(failed)?;
    let born = private.path().join("s");
    let listener = UnixListener::bind(&born).map_err(failed)?;
    if let Some(gid) = group {
        let given = std::os::unix::fs::chown(&born, None, Some(gid));
        given.map_err(|source| BindError::Group { path: path.to_owned(), gid, source })?;
    }
    fs::set_permissions(&born, Permissions::from_mode(mode)).map_err(failed)?;
    let file = identity(&born).map_err(failed)?;
    fs::rename(&born, path).map_err(failed)?;
    Ok(Socket::Unix(UnixSocket { listener, path: path.to_owned(), file: Some(file) }))
}

/// Refuses whatever is not a dead socket.
async fn make_way(path: &Path) -> Result<(), BindError> {
    let failed = |source| BindError::Io { path: path.to_owned(), source };
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(failed)?,
    };
    // A symbolic link is refused too: what it points to may be anybody's.
    if !found.file_type().is_socket() {
        return Err(BindError::NotASocket(path.to_owned()));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        // A full queue means that somebody holds it.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(BindError::Live(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(_) => Err(BindError::Live(path.to_owned())),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()))
}
