//! What a configuration is made from: handed in, so that loading itself reads no environment and no clock.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Value};

use super::document::Document;
use super::layers::{CONFIG_VARIABLE, LARGEST, PREFIX};
use super::shipped;
use crate::look;

/// Read when no file is named; it may be absent.
pub const DEFAULT_FILE: &str = "/etc/opros/opros.toml";

/// Where to look, beside the built-in defaults.
#[derive(Clone, Default)]
pub struct Sources {
    /// Named by `--config`, and therefore must exist. Goes before `OPROS_CONFIG`, which goes before `fallback`.
    pub file: Option<PathBuf>,
    /// Read when it exists and no other is named.
    pub fallback: Option<PathBuf>,
    /// Variables; those that do not begin with `OPROS_` are passed over.
    pub env: Vec<(String, String)>,
    /// systemd's `$CREDENTIALS_DIRECTORY`.
    pub credentials_dir: Option<PathBuf>,
    /// Dotted keys with the text of their values, from flags.
    pub overrides: Vec<(String, String)>,
    /// TOML that stands in for the file; problems call it `opros.toml`.
    pub text: Option<String>,
}

/// Names only: variables and flags may hold secrets.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |pairs: &[(String, String)]| pairs.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        f.debug_struct("Sources")
            .field("file", &self.file)
            .field("fallback", &self.fallback)
            .field("env", &names(&self.env))
            .field("credentials_dir", &self.credentials_dir)
            .field("overrides", &names(&self.overrides))
            .finish_non_exhaustive()
    }
}

impl Sources {
    /// The process's own surroundings. The one place of the configuration that reads them.
    pub fn from_process(file: Option<PathBuf>, overrides: Vec<(String, String)>) -> Self {
        let readable = |text: OsString| text.to_string_lossy().into_owned();
        Self {
            file,
            fallback: Some(PathBuf::from(DEFAULT_FILE)),
            env: std::env::vars_os()
                .map(|(name, value)| (readable(name), readable(value)))
                .filter(|(name, _)| name.starts_with(PREFIX))
                .collect(),
            credentials_dir: std::env::var_os("CREDENTIALS_DIRECTORY").filter(|dir| !dir.is_empty()).map(PathBuf::from),
            overrides,
            text: None,
        }
    }

    /// A configuration that stands in the program: for `demo`, `simulate` and tests.
    pub fn from_text(text: &str) -> Self {
        Self { text: Some(text.to_owned()), ..Self::default() }
    }

    /// The file that counts, and whether it must exist.
    pub fn config_file(&self) -> Option<(PathBuf, bool)> {
        let from_env = self.variable(CONFIG_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let named = self.file.clone().or(from_env).map(|path| (path, true));
        named.or_else(|| self.fallback.clone().map(|path| (path, false)))
    }

    /// What is wrong with a file that was named, by a flag or by `OPROS_CONFIG`: a client that passed it over would speak to
    /// another daemon than was meant.
    pub fn named_file_problem(&self) -> Option<String> {
        let (file, _) = self.config_file().filter(|(_, is_named)| *is_named)?;
        let name = file.display();
        match std::fs::read_to_string(&file) {
            Err(error) => Some(format!("the configuration file {name} cannot be read: {error}")),
            Ok(text) => Document::parse("", text).err().map(|problem| {
                let line = problem.line.map(|line| format!(" (line {line})")).unwrap_or_default();
                format!(
                    "the configuration file {name} is not TOML{line}: opros --config {name} config check tells more"
                )
            }),
        }
    }

    /// The admin socket as a client sees it: flags, environment, the file if it can be read, the built-in default.
    /// Never fails: a client may be a user who cannot read the daemon's file.
    pub fn client_socket(&self) -> PathBuf {
        let flag = self.overrides.iter().rev().find(|(key, _)| key == "admin.socket").map(|(_, path)| path.clone());
        let named = flag.or_else(|| self.variable("OPROS_ADMIN__SOCKET").map(str::to_owned));
        let named = named.filter(|path| !path.is_empty()).or_else(|| socket_in(&self.config_file()?.0));
        PathBuf::from(named.unwrap_or_else(shipped_socket))
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.env.iter().rev().find(|(variable, _)| variable == name).map(|(_, value)| value.as_str())
    }
}

/// As the shipped file has it.
fn shipped_socket() -> String {
    socket(shipped::everything()).unwrap_or_default()
}

fn socket_in(file: &Path) -> Option<String> {
    let text = look::named_text(file, LARGEST).ok()?;
    socket(&Document::parse("", text).ok()?.to_dict())
}

fn socket(values: &Dict) -> Option<String> {
    let admin = values.get("admin").and_then(Value::as_dict)?;
    admin.get("socket").and_then(Value::as_str).filter(|path| !path.is_empty()).map(str::to_owned)
}
