//! The layers, in order: built-in defaults, the file, the environment, flags. figment merges them and remembers which
//! value came from where.

use std::collections::BTreeMap;
use std::path::PathBuf;

use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::document::Document;
use super::problem::{Problem, Problems};
use super::{Sources, shipped};
use crate::look;

/// A configuration is a page, not a disk image.
pub(super) const LARGEST: u64 = 16 << 20;

/// Which layer a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Shipped,
    File,
    Environment,
    CommandLine,
}

impl Origin {
    const ALL: [Origin; 4] = [Self::Shipped, Self::File, Self::Environment, Self::CommandLine];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Shipped => "built-in defaults",
            Self::File => "file",
            Self::Environment => "environment",
            Self::CommandLine => "command line",
        }
    }

    /// There every value is text, whatever the setting's type.
    pub(super) fn is_text_only(self) -> bool {
        matches!(self, Self::Environment | Self::CommandLine)
    }
}

#[derive(Clone)]
struct Layer {
    origin: Origin,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.name())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

/// All layers as one. No `Debug`: it holds secrets.
pub(super) struct Merged {
    pub(super) values: Dict,
    pub(super) document: Option<Document>,
    pub(super) credentials_dir: Option<PathBuf>,
    /// Variables by the dotted key that they set.
    variables: BTreeMap<String, String>,
    figment: Figment,
}

impl Merged {
    /// Reads and merges; fails only where the file cannot be read as TOML at all.
    pub(super) fn of(sources: &Sources) -> Result<Self, Problems> {
        let document = sources.read_file().map_err(|problem| Problems(vec![problem]))?;
        let file = document.as_ref().map(Document::to_dict).unwrap_or_default();
        let (environment, variables) = environment(&sources.env, &file);
        let user = [
            Layer { origin: Origin::File, values: file },
            Layer { origin: Origin::Environment, values: environment },
            Layer { origin: Origin::CommandLine, values: command_line(&sources.overrides) },
        ];
        let defaults = Layer { origin: Origin::Shipped, values: defaults_for(&merge(user.clone())) };
        let figment = user.into_iter().fold(Figment::from(defaults), Figment::merge);
        let values = flatten(&figment);
        Ok(Self { values, document, credentials_dir: sources.credentials_dir.clone(), variables, figment })
    }

    /// Everything as shipped, but for the sections that say where things lie.
    pub(super) fn keep_places(&mut self) {
        let mut values = shipped::with_accounts(shipped::everything(), Dict::new());
        for section in ["store", "mailbox", "admin"] {
            let Some(mut own) = self.values.get(section).and_then(Value::as_dict).cloned() else { continue };
            own.retain(|key, _| !key.contains("token") && key != "listen");
            let shipped = values.get(section).and_then(Value::as_dict).cloned().unwrap_or_default();
            own.extend(shipped.into_iter().filter(|(key, _)| key == "listen"));
            values.insert(section.to_owned(), Value::from(own));
        }
        self.values = values;
    }

    pub(super) fn origin(&self, tag: Tag) -> Option<Origin> {
        let name = &self.figment.get_metadata(tag)?.name;
        Origin::ALL.into_iter().find(|origin| origin.name() == name)
    }

    /// The variable that sets, or would set, `key`.
    pub(super) fn variable(&self, path: &[String]) -> String {
        let known = self.variables.get(&path.join("."));
        known.cloned().unwrap_or_else(|| format!("{PREFIX}{}", path.join("__").to_uppercase()))
    }
}

fn merge(layers: [Layer; 3]) -> Dict {
    flatten(&layers.into_iter().fold(Figment::new(), Figment::merge))
}

fn flatten(figment: &Figment) -> Dict {
    // Our layers never fail to provide.
    figment.data().ok().and_then(|mut profiles| profiles.remove(&Profile::Default)).unwrap_or_default()
}

/// The shipped sections, and for every account that the user names the defaults of its vendor.
fn defaults_for(user: &Dict) -> Dict {
    let everything = shipped::everything();
    let mut accounts = Dict::new();
    for (name, account) in user.get("accounts").and_then(Value::as_dict).into_iter().flatten() {
        let vendor = account.as_dict().and_then(|account| account.get("vendor")).and_then(Value::as_str);
        if let Some(defaults) = vendor.and_then(|vendor| shipped::account_defaults(everything, vendor)) {
            accounts.insert(name.clone(), Value::from(defaults));
        }
    }
    shipped::with_accounts(everything, accounts)
}

pub(super) const PREFIX: &str = "OPROS_";

/// Names the configuration file; no setting.
pub(super) const CONFIG_VARIABLE: &str = "OPROS_CONFIG";

/// The command line's own, and no settings.
const NO_SETTINGS: [&str; 3] = [CONFIG_VARIABLE, "OPROS_URL", "OPROS_TOKEN_FILE"];

fn environment(env: &[(String, String)], file: &Dict) -> (Dict, BTreeMap<String, String>) {
    let mut values = Dict::new();
    let mut variables = BTreeMap::new();
    for (variable, value) in env.iter().filter(|(variable, _)| !NO_SETTINGS.contains(&variable.as_str())) {
        let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
        let mut path = split(&rest.to_lowercase(), "__");
        adopt_dashes(&mut path, file);
        variables.insert(path.join("."), variable.clone());
        insert(&mut values, &path, Value::from(value.as_str()));
    }
    (values, variables)
}

/// No setting lies deeper than four levels; what does is no path but one unknown name, and is not followed down.
const DEEPEST: usize = 8;

fn split(name: &str, between: &str) -> Vec<String> {
    let path: Vec<String> = name.split(between).take(DEEPEST + 1).map(str::to_owned).collect();
    if path.len() > DEEPEST { vec![name.to_owned()] } else { path }
}

/// A variable's name cannot hold `-`: `ACCOUNTS__MY_SHOP__…` means the file's account `my-shop` unless there is a `my_shop`.
fn adopt_dashes(path: &mut [String], file: &Dict) {
    let [section, name, ..] = path else { return };
    let Some(accounts) = file.get("accounts").and_then(Value::as_dict).filter(|_| section == "accounts") else {
        return;
    };
    if !accounts.contains_key(name)
        && let Some(dashed) = accounts.keys().find(|known| known.replace('-', "_") == *name)
    {
        name.clone_from(dashed);
    }
}

fn command_line(overrides: &[(String, String)]) -> Dict {
    let mut values = Dict::new();
    for (key, value) in overrides {
        insert(&mut values, &split(key, "."), Value::from(value.as_str()));
    }
    values
}

/// Where a value stands in the way of a table, the value stays: the reader will say that it must be a table.
fn insert(into: &mut Dict, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => {
            into.insert(last.clone(), value);
        }
        [first, rest @ ..] => {
            let inner = into.entry(first.clone()).or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

impl Sources {
    /// The file as TOML; `None` where there is none and none was named.
    fn read_file(&self) -> Result<Option<Document>, Problem> {
        if let Some(text) = &self.text {
            return Document::parse("opros.toml", text.clone()).map(Some);
        }
        let Some((path, must_exist)) = self.config_file() else { return Ok(None) };
        let file = path.display().to_string();
        match look::named_text(&path, LARGEST) {
            Ok(text) => Document::parse(&file, text).map(Some),
            Err(refusal) if refusal.is_missing() && !must_exist => Ok(None),
            Err(refusal) => Err(Problem { file, message: refusal.to_string(), is_unread: true, ..Problem::default() }),
        }
    }
}
