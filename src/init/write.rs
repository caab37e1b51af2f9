//! Putting the files where they belong: whole or not at all, for nobody else to read.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, OFlags};
use tempfile::NamedTempFile;
use toml_edit::{DocumentMut, Item, Table, value};

use super::{FORMS, Shape};
use crate::cli::Failure;
use crate::cli::args::InitArgs;
use crate::config::DEFAULT_FILE;
use crate::look::{self, Hands};

/// The user that packages make.
const DAEMON_USER: &str = "opros";

#[derive(Debug)]
pub struct Place {
    pub config: PathBuf,
    /// Where the secrets' files go.
    pub secrets: PathBuf,
    /// Everything of the daemon's lies here too; none: where packages have it.
    below: Option<PathBuf>,
}

impl Place {
    pub fn new(args: &InitArgs, config: Option<&Path>) -> Place {
        // The daemon may be started from elsewhere.
        let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let below = args.dir.as_deref().map(whole);
        let default = || below.as_ref().map_or(PathBuf::from(DEFAULT_FILE), |dir| dir.join("opros.toml"));
        let config = config.map_or_else(default, whole);
        let secrets = config.with_file_name("secrets");
        Place { config, secrets, below }
    }

    /// Before anything is asked: what was typed must not be lost at the end.
    pub fn check(&self, force: bool) -> Result<(), Failure> {
        let there = self.config.ancestors().skip(1).find(|path| path.is_dir()).unwrap_or(Path::new("/"));
        if rustix::fs::access(there, Access::WRITE_OK | Access::EXEC_OK).is_err() {
            return Err(Failure::Usage(format!(
                "you may not write to {}; sudo opros init, or --dir DIR",
                there.display()
            )));
        }
        self.is_ours_alone()?;
        if force || fs::symlink_metadata(&self.config).is_err() {
            return Ok(());
        }
        Err(Failure::Usage(format!(
            "{} is there already and stays as it is; --force replaces it and keeps the old one as {}",
            self.config.display(),
            self.old().display()
        )))
    }

    /// Root writes keys and gives files away: not where others could exchange what a name leads to.
    fn is_ours_alone(&self) -> Result<(), Failure> {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        match [&self.config, &self.secrets.join("x")].into_iter().map(|path| look::hands(path)).find_map(many) {
            None => Ok(()),
            Some(directory) => Err(Failure::Usage(format!(
                "others may write to {directory}, and could exchange the configuration or its keys: choose a directory that \
                 only root can write to, or run opros init as the user whose directory it is"
            ))),
        }
    }

    fn old(&self) -> PathBuf {
        self.config.with_extension("toml.old")
    }

    /// The files of the secrets that were written.
    pub fn write(&self, accounts: DocumentMut, force: bool) -> Result<Vec<PathBuf>, Failure> {
        self.try_write(accounts, force).map_err(|(path, error)| {
            let why = match error.kind() {
                io::ErrorKind::AlreadyExists => "it is there already; --force replaces it".to_owned(),
                io::ErrorKind::PermissionDenied => "you may not write there; sudo opros init, or --dir DIR".to_owned(),
                _ => error.to_string(),
            };
            Failure::Usage(format!("{} cannot be written: {why}", path.display()))
        })
    }

    fn try_write(&self, mut accounts: DocumentMut, force: bool) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
        let owner = owner();
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error| (path, error)
        };
        let directory = self.config.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory).map_err(at(directory))?;
        // Once more: it may be another directory that was made, or was there.
        self.is_ours_alone().map_err(|failure| (directory.to_owned(), io::Error::other(failure.to_string())))?;
        let secrets = self.take_secrets(&mut accounts);
        if !secrets.is_empty() {
            make_private(&self.secrets, owner).map_err(at(&self.secrets))?;
        }
        for (path, secret) in &secrets {
            put(path, &format!("{secret}\n"), force, owner).map_err(at(path))?;
        }
        if force && fs::symlink_metadata(&self.config).is_ok() {
            fs::rename(&self.config, self.old()).map_err(at(&self.config))?;
        }
        put(&self.config, &self.text(&accounts), force, owner).map_err(at(&self.config))?;
        Ok(secrets.into_iter().map(|(path, _)| path).collect())
    }

    /// Puts `key_file` in the place of `key`.
    fn take_secrets(&self, accounts: &mut DocumentMut) -> Vec<(PathBuf, String)> {
        let mut taken = Vec::new();
        let Some(accounts) = accounts.get_mut("accounts").and_then(Item::as_table_like_mut) else { return taken };
        for (name, account) in accounts.iter_mut() {
            let Some(account) = account.as_table_like_mut() else { continue };
            let vendor = account.get("vendor").and_then(Item::as_str).unwrap_or_default();
            let form = FORMS.iter().find(|form| form.vendor == vendor);
            let fields = form.into_iter().flat_map(|form| form.fields);
            for field in fields.filter(|field| matches!(field.shape, Shape::Secret | Shape::MadeUp)) {
                let Some(secret) = account.get(field.key).and_then(Item::as_str).map(str::to_owned) else { continue };
                let path = self.secrets.join(format!("{}.{}", name.get(), field.key));
                account.remove(field.key);
                account.insert(&format!("{}_file", field.key), value(path.display().to_string()));
                taken.push((path, secret));
            }
        }
        taken
    }

    /// The accounts, and what lies elsewhere. A copy of the shipped file would keep today's defaults for ever.
    fn text(&self, accounts: &DocumentMut) -> String {
        let mut text = HEAD.to_owned();
        if let Some(below) = &self.below {
            let mut places = DocumentMut::new();
            for (section, key, path) in [
                ("store", "path", "store/opros.db"),
                ("mailbox", "path", "mailbox/mailbox.db"),
                ("admin", "socket", "admin.sock"),
            ] {
                let mut table = Table::new();
                table.insert(key, value(below.join(path).display().to_string()));
                places.insert(section, Item::Table(table));
            }
            text.push_str(&places.to_string());
            text.push('\n');
        }
        text.push_str(accounts.to_string().trim_start());
        text
    }
}

const HEAD: &str = "\
# The configuration of opros, as opros init wrote it. Every setting has a default; what stands here goes before it.
# All of them, each with a word on what it does: /usr/share/opros/opros.toml, or man opros.toml.

";

type Owner = Option<(u32, u32)>;

/// Root writes for the daemon's user; anybody else for themselves.
fn owner() -> Owner {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.split(':').next() == Some(DAEMON_USER))?;
    let mut numbers = line.split(':').skip(2).map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn many(hands: Hands) -> Option<String> {
    match hands {
        Hands::Many(directory) => Some(directory),
        Hands::Owners(_) => None,
    }
}

/// By the descriptor: what the name leads to could be another file by now.
fn give(file: &File, owner: Owner) -> io::Result<()> {
    owner.map_or(Ok(()), |(user, group)| fchown(file, Some(user), Some(group)))
}

/// A directory that is there already must be one, and nobody else's.
fn make_private(directory: &Path, owner: Owner) -> io::Result<()> {
    let made = DirBuilder::new().mode(0o700).create(directory);
    let is_new = made.is_ok();
    made.or_else(|error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })?;
    let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC).bits().cast_signed();
    let there = File::options().read(true).custom_flags(flags).open(directory)?;
    let meta = there.metadata()?;
    let known = look::is_trusted(meta.uid()) || owner.is_some_and(|(user, _)| user == meta.uid());
    if !known || meta.mode() & 0o022 != 0 {
        return Err(io::Error::other("others may write there"));
    }
    if is_new { give(&there, owner) } else { Ok(()) }
}

/// Mode 0600 from the first moment on; never a half file, and no other's file without `force`.
fn put(path: &Path, text: &str, force: bool, owner: Owner) -> io::Result<()> {
    let mut file = NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    give(file.as_file(), owner)?;
    file.as_file().sync_all()?;
    let kept = if force { file.persist(path) } else { file.persist_noclobber(path) };
    kept.map(drop).map_err(|error| error.error)
}
