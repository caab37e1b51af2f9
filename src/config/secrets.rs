//! Where secrets come from: a value, a `*_file`, or a systemd credential; one of them, once.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::layers::Origin;
use super::reader::Section;
use super::shipped::PLACEHOLDER;

/// A secret is a line, not a disk image.
const LARGEST: u64 = 64 * 1024;

const GROUP_OR_OTHERS: u32 = 0o077;
const OTHERS_READ: u32 = 0o004;

impl Section<'_> {
    /// A secret that must be there. Whatever is wrong with it, the message never holds it.
    pub(super) fn secret(&self, key: &str) -> SecretString {
        let text = self.secret_text(key);
        SecretString::from(text.and_then(|text| self.checked(key, text)).unwrap_or_default())
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
        let text = match listed {
            Some(listed) => {
                self.warn_of_open_config();
                let texts: Option<Vec<&str>> = listed.iter().map(figment::value::Value::as_str).collect();
                if texts.is_none() {
                    self.problem(key, "must be a text in quotes, or a list of two");
                }
                texts.map(|texts| texts.join(" "))
            }
            None => self.secret_text(key),
        };
        let all: Vec<SecretString> = text.unwrap_or_default().split_whitespace().map(SecretString::from).collect();
        if self.is_sound(key) && !(1..=2).contains(&all.len()) {
            self.problem(key, "must be one secret, or two while one is replaced by the other");
        }
        all
    }

    fn secret_text(&self, key: &str) -> Option<String> {
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
        match (value, file, credentials.first()) {
            _ if given != 1 => None,
            (Some(value), ..) => self.value_text(key, value),
            (_, Some(path), _) => self.file_text(&file_key, &path),
            (.., Some(path)) => self.credential_text(key, path),
            (None, None, None) => None,
        }
    }

    fn value_text(&self, key: &str, value: &figment::value::Value) -> Option<String> {
        let text = value.as_str().map(str::to_owned);
        match &text {
            None => self.problem(key, "must be a text in quotes"),
            Some(text) if text == PLACEHOLDER => self.problem(key, "is still the placeholder of the shipped file"),
            Some(_) => {}
        }
        if self.origin_of(value) == Origin::File {
            self.warn_of_open_config();
        }
        text
    }

    fn file_text(&self, file_key: &str, path: &Path) -> Option<String> {
        if !self.is_sound(file_key) {
            return None;
        }
        match mode_of(path) {
            Some(mode) if mode & GROUP_OR_OTHERS != 0 => {
                let who = if mode & OTHERS_READ != 0 { "every user" } else { "its group" };
                self.warning(file_key, format!("{} is open to {who} (mode {mode:04o}); chmod 0400", path.display()));
            }
            _ => {}
        }
        read(path).map_err(|message| self.problem(file_key, message)).ok()
    }

    fn credential_text(&self, key: &str, path: &Path) -> Option<String> {
        read(path).map_err(|message| self.problem(key, message)).ok()
    }

    fn checked(&self, key: &str, text: String) -> Option<String> {
        if text.is_empty() {
            self.problem(key, "must not be empty");
            return None;
        }
        if text.chars().any(char::is_control) {
            self.problem(key, "must be one line without control characters");
            return None;
        }
        Some(text)
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

/// The file's text without its last newline. A FIFO or a device is refused: it could be waited for without end.
fn read(path: &Path) -> Result<String, String> {
    let trouble = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    if !fs::metadata(path).map_err(trouble)?.is_file() {
        return Err(format!("{} is not a file", path.display()));
    }
    let mut bytes = Vec::new();
    fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes)).map_err(trouble)?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("{} is larger than {LARGEST} bytes", path.display()));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8", path.display()))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}
