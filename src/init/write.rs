//! Putting the files where they belong: whole or not at all, for nobody else to read.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use tempfile::NamedTempFile;
use toml_edit::{DocumentMut, Item, Table, value};

use super::{FORMS, Shape};
use crate::cli::Failure;
use crate::cli::args::InitArgs;
use crate::config::{DEFAULT_FILE, SHIPPED};

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
        if force || fs::symlink_metadata(&self.config).is_err() {
            return Ok(());
        }
        Err(Failure::Usage(format!(
            "{} is there already and stays as it is; --force replaces it and keeps the old one as {}",
            self.config.display(),
            self.old().display()
        )))
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
        let secrets = self.take_secrets(&mut accounts);
        if !secrets.is_empty() {
            make_private(&self.secrets, owner).map_err(at(&self.secrets))?;
        }
        for (path, secret) in &secrets {
            put(path, &format!("{secret}\n"), force, owner).map_err(at(path))?;
        }
        if force && self.config.exists() {
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

    /// The shipped file, which explains itself, with the accounts at its end.
    fn text(&self, accounts: &DocumentMut) -> String {
        let mut text = match (&self.below, SHIPPED.parse::<DocumentMut>()) {
            (Some(below), Ok(mut shipped)) => {
                set(&mut shipped, "store", "path", &below.join("store/opros.db"));
                set(&mut shipped, "mailbox", "path", &below.join("mailbox/mailbox.db"));
                set(&mut shipped, "admin", "socket", &below.join("admin.sock"));
                shipped.to_string()
            }
            (_, Ok(_) | Err(_)) => SHIPPED.to_owned(),
        };
        text.push_str(&format!("\n# {}\n# The accounts that opros init wrote.\n\n", "-".repeat(117)));
        text.push_str(accounts.to_string().trim_start());
        text
    }
}

/// Another value in the same place, with the comment behind it.
fn set(document: &mut DocumentMut, section: &str, key: &str, path: &Path) {
    let Some(old) =
        document.get_mut(section).and_then(Item::as_table_mut).and_then(|table: &mut Table| table.get_mut(key))
    else {
        return;
    };
    let decor = old.as_value().map(|old| old.decor().clone());
    *old = value(path.display().to_string());
    if let (Some(decor), Some(new)) = (decor, old.as_value_mut()) {
        *new.decor_mut() = decor;
    }
}

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

fn give(path: &Path, owner: Owner) -> io::Result<()> {
    owner.map_or(Ok(()), |(user, group)| chown(path, Some(user), Some(group)))
}

fn make_private(directory: &Path, owner: Owner) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    DirBuilder::new().mode(0o700).create(directory)?;
    give(directory, owner)
}

/// Mode 0600 from the first moment on; never a half file, and no other's file without `force`.
fn put(path: &Path, text: &str, force: bool, owner: Owner) -> io::Result<()> {
    let mut file = NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    give(file.path(), owner)?;
    file.as_file().sync_all()?;
    let kept = if force { file.persist(path) } else { file.persist_noclobber(path) };
    kept.map(drop).map_err(|error| error.error)
}
