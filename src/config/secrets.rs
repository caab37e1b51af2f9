//! Where secrets come from: a value, a `*_file`, or a systemd credential; one of them, once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::doubt::{self, Doubt};
use super::layers::Origin;
use super::reader::Section;
use crate::domain::masking;
use crate::look::{self, Links, Refusal};

/// A secret is a line, not a disk image.
const LARGEST: u64 = 64 * 1024;

const GROUP_OR_OTHERS: u32 = 0o077;
const OTHERS_READ: u32 = 0o004;

/// What was given for a secret. No `Debug`: it is one.
#[derive(Default)]
struct Given {
    text: String,
    /// For people: the file that it stands in.
    place: String,
}

impl Section<'_> {
    /// A secret that must be there. Whatever is wrong with it, the message never holds it.
    pub(super) fn secret(&self, key: &str) -> SecretString {
        let secret = self.identity(key);
        let text = secret.expose_secret();
        if !text.is_empty() && !masking::is_long(text) {
            self.warning(
                key,
                "has fewer than six characters: it is not masked wherever a vendor may echo it (README, Secrets)",
            );
        }
        secret
    }

    /// The same of what is told to nobody without need, and is no secret.
    pub(super) fn identity(&self, key: &str) -> SecretString {
        let given = self.secret_text(key);
        SecretString::from(given.and_then(|given| self.checked(key, given)).unwrap_or_default())
    }

    /// A secret that need not be there.
    pub(super) fn secret_or_none(&self, key: &str) -> Option<SecretString> {
        let file_key = format!("{key}_file");
        let given = [self.value(key), self.value(&file_key)].iter().any(Option::is_some);
        (given || !self.credentials(key).is_empty()).then(|| self.secret(key))
    }

    /// A secret, or two of them while one is replaced by the other: in a list, or in one text with a blank or a new line between.
    pub(super) fn secrets(&self, key: &str) -> Vec<SecretString> {
        let listed = self.value(key).and_then(figment::value::Value::as_array);
        let given = match listed {
            Some(listed) => {
                self.warn_of_open_config();
                let texts: Option<Vec<&str>> = listed.iter().map(figment::value::Value::as_str).collect();
                if texts.is_none() {
                    self.problem(key, "must be a text in quotes, or a list of two");
                }
                texts.map(|texts| Given { text: texts.join(" "), place: String::new() })
            }
            None => self.secret_text(key),
        };
        let Given { text, place } = given.unwrap_or_default();
        // A whole line `key = "…"` would fall into parts here.
        let whole =
            Given { text: text.replace(['\n', '\r', '\t'], " ").trim_matches(' ').to_owned(), place: place.clone() };
        if !text.is_empty() && self.checked(key, whole).is_none() {
            return Vec::new();
        }
        let parts = text.split_ascii_whitespace().map(|part| Given { text: part.to_owned(), place: place.clone() });
        let all: Vec<SecretString> = parts.filter_map(|part| self.checked(key, part)).map(SecretString::from).collect();
        if self.is_sound(key) && !(1..=2).contains(&all.len()) {
            self.problem(key, "must be one secret, or two while one is replaced by the other");
        }
        all
    }

    fn secret_text(&self, key: &str) -> Option<Given> {
        let file_key = format!("{key}_file");
        let value = self.value(key);
        let file = self.value(&file_key).map(|_| self.path(&file_key));
        let credentials = self.credentials(key);
        let given = usize::from(value.is_some()) + usize::from(file.is_some()) + credentials.len();
        if given > 1 {
            self.problem(key, self.given_twice(key, value.is_some(), file.is_some(), &credentials));
        } else if given == 0 {
            let credential = self.credential.as_ref().map_or_else(|| self.dotted(key), |of| format!("{of}.{key}"));
            self.problem(key, format!("is required (or {file_key}, or the systemd credential {credential})"));
        }
        let (text, place) = match (value, file, credentials.first()) {
            _ if given != 1 => return None,
            (Some(value), ..) => (self.value_text(key, value)?, String::new()),
            (_, Some(path), _) => (self.file_text(&file_key, &path)?, format!(" (in {})", path.display())),
            (.., Some(path)) => (self.credential_text(key, path)?, format!(" (in {})", path.display())),
            (None, None, None) => return None,
        };
        Some(Given { text: trimmed(&text).to_owned(), place })
    }

    fn value_text(&self, key: &str, value: &figment::value::Value) -> Option<String> {
        let text = value.as_str().map(str::to_owned);
        if text.is_none() {
            self.problem(key, "must be a text in quotes");
        }
        match self.origin_of(value) {
            Origin::File => self.warn_of_open_config(),
            Origin::CommandLine => self.warning(
                key,
                format!(
                    "is given on the command line, where every user of this machine can read it (ps); use {key}_file"
                ),
            ),
            Origin::Shipped | Origin::Environment => {}
        }
        text
    }

    fn file_text(&self, file_key: &str, path: &Path) -> Option<String> {
        if !self.is_sound(file_key) {
            return None;
        }
        let (text, mode) = read(path).map_err(|message| self.problem(file_key, message)).ok()?;
        if mode & GROUP_OR_OTHERS != 0 {
            let who = if mode & OTHERS_READ != 0 { "every user" } else { "its group" };
            // A command would change what a link leads to.
            let is_link = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink());
            let todo = if is_link { "let nobody but opros read what this link leads to" } else { "chmod 0400" };
            self.warning(file_key, format!("{} is open to {who} (mode {mode:04o}); {todo}", path.display()));
        }
        Some(text)
    }

    fn credential_text(&self, key: &str, path: &Path) -> Option<String> {
        read(path).map(|(text, _)| text).map_err(|message| self.problem(key, message)).ok()
    }

    fn checked(&self, key: &str, given: Given) -> Option<String> {
        let Given { text, place } = given;
        match doubt::of(key, &text) {
            Some(Doubt::Wrong(what)) => {
                self.problem(key, format!("{what}{place}"));
                None
            }
            Some(Doubt::Odd(what)) => {
                self.warning(key, format!("{what}{place}"));
                Some(text)
            }
            None => Some(text),
        }
    }

    /// systemd's files for this secret: `accounts.NAME.KEY`, or `NAME.KEY`; of a webhook `webhooks.NAME.KEY`.
    fn credentials(&self, key: &str) -> Vec<PathBuf> {
        let Some(dir) = &self.findings.layers.credentials_dir else { return Vec::new() };
        let names = match &self.credential {
            Some(prefix) => vec![format!("{prefix}.{key}")],
            None => vec![self.dotted(key), format!("{}.{key}", self.name())],
        };
        // An account's name could hold a slash: it is refused elsewhere, and must not lead out of the directory here.
        let names = names.into_iter().filter(|name| !name.contains('/'));
        names.map(|name| dir.join(name)).filter(|path| path.exists()).collect()
    }

    fn given_twice(&self, key: &str, value: bool, file: bool, credentials: &[PathBuf]) -> String {
        let mut ways = Vec::new();
        ways.extend(value.then(|| key.to_owned()));
        ways.extend(file.then(|| format!("{key}_file")));
        ways.extend(credentials.iter().map(|path| format!("the credential {}", path.display())));
        format!("is given more than once: by {}", ways.join(" and by "))
    }

    fn dotted(&self, key: &str) -> String {
        self.path_of(key).join(".")
    }

    fn warn_of_open_config(&self) {
        let Some(document) = &self.findings.layers.document else { return };
        let mode = mode_of(Path::new(&document.file)).filter(|mode| mode & OTHERS_READ != 0);
        if let Some(mode) = mode {
            self.findings
                .warning(&[], format!("holds secrets and is open to every user (mode {mode:04o}); chmod 0600, and let it belong to the user that opros runs as"));
        }
    }
}

fn mode_of(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|metadata| metadata.permissions().mode() & 0o777)
}

/// The file's text, and its mode. What is said of a file that cannot be read does not hold what was written in the place of its
/// path, unless that is a path: it may be the secret itself.
fn read(path: &Path) -> Result<(String, u32), String> {
    let trouble = |refusal: Refusal| {
        if is_place(path) {
            return format!("{} {refusal}", path.display());
        }
        "must be the path of a file that holds the secret, and no such file is there; what is written here is not shown, \
         for it may be the secret itself"
            .to_owned()
    };
    let (bytes, meta) = look::bytes(path, Links::Follow, LARGEST).map_err(trouble)?;
    let text = look::decoded(bytes).map_err(|refusal| format!("{} {refusal}", path.display()))?;
    Ok((text, meta.permissions().mode() & 0o777))
}

/// There is something, or at least the directory for it.
fn is_place(path: &Path) -> bool {
    let parent = path.parent().filter(|parent| parent.parent().is_some());
    fs::symlink_metadata(path).is_ok() || parent.is_some_and(|parent| fs::symlink_metadata(parent).is_ok())
}

/// Without the mark that some editors put before a text, and without its last newline: neither is ever meant.
fn trimmed(text: &str) -> &str {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).or_else(|| text.strip_suffix('\r')).unwrap_or(text)
}
