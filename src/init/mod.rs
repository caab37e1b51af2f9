//! `opros init`: writes a first configuration. Asks for accounts on a terminal, or takes them from a file; tries the
//! credentials where the vendor has a free call; keeps keys in files of their own.

mod ask;
mod write;

use std::io::Read;
use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item, Table, TableLike};

use self::write::Place;
use crate::app;
use crate::cli::args::InitArgs;
use crate::cli::output::{BAD, CARE, GOOD, Term, styled};
use crate::cli::{Exit, Failure, text};
use crate::clock::SharedClock;
use crate::config::{self, Config, Sources};
use crate::doctor::trial::{self, Trial};

/// A configuration is a page, not a disk image.
const LARGEST: u64 = 1 << 20;

/// What a vendor's account is made of.
#[derive(Debug)]
pub struct Form {
    pub vendor: &'static str,
    pub about: &'static str,
    pub default_url: Option<&'static str>,
    pub fields: &'static [FieldForm],
}

#[derive(Debug)]
pub struct FieldForm {
    pub key: &'static str,
    pub about: &'static str,
    pub shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Text,
    Number,
    /// Not shown while it is typed, and kept in a file of its own.
    Secret,
    /// The same; made up where none is typed.
    MadeUp,
}

const fn field(key: &'static str, about: &'static str, shape: Shape) -> FieldForm {
    FieldForm { key, about, shape }
}

pub const FORMS: [Form; 4] = [
    Form {
        vendor: "tronk",
        about: "vehicle and phone reports",
        default_url: Some("https://data.tronk.info"),
        fields: &[field("key", "the key", Shape::Secret)],
    },
    Form {
        vendor: "alta",
        about: "wagons and containers",
        default_url: Some("https://www.alta.ru"),
        fields: &[
            field("login", "the login", Shape::Text),
            field("sa", "the contract, such as sa000000", Shape::Text),
            field("password", "the technical password, not that of the web site", Shape::Secret),
        ],
    },
    Form {
        vendor: "rlab",
        about: "parcels",
        default_url: Some("https://apilr2.r-lab.biz"),
        fields: &[
            field("user_id", "the user's number", Shape::Number),
            field("user_key", "the user's key", Shape::Secret),
        ],
    },
    Form {
        vendor: "vagvin",
        about: "reports by call-back",
        default_url: None,
        fields: &[
            field("token", "the token", Shape::Secret),
            field("callback_secret", "the secret end of the call-back address; empty: one is made up", Shape::MadeUp),
        ],
    },
];

pub async fn init(
    term: &mut Term,
    clock: &SharedClock,
    args: &InitArgs,
    config: Option<&Path>,
) -> Result<Exit, Failure> {
    let place = Place::new(args, config);
    place.check(args.force)?;
    let document = match &args.accounts {
        Some(from) => {
            let given = read(from)?;
            let loaded = checked(&given)?;
            if !args.no_test && !tried(term, clock, &loaded).await? {
                term.note("Nothing was written. Mend it, or leave the test out with --no-test.")?;
                return Ok(Exit::Refused);
            }
            given
        }
        None => ask::accounts(term, clock, args.no_test).await?,
    };
    let written = place.write(document, args.force)?;
    report(term, &place, &written)?;
    Ok(Exit::Ok)
}

/// The accounts of a file or of stdin, in the configuration's own form.
fn read(from: &Path) -> Result<DocumentMut, Failure> {
    let shown = from.display();
    let mut text = String::new();
    let reading = if from == Path::new("-") {
        std::io::stdin().take(LARGEST).read_to_string(&mut text)
    } else {
        std::fs::File::open(from).and_then(|file| file.take(LARGEST).read_to_string(&mut text))
    };
    reading.map_err(|error| Failure::Usage(format!("the accounts cannot be read from {shown}: {error}")))?;
    // Only the parser's own words: its Display quotes the line, which may hold a secret.
    let document: DocumentMut = text
        .parse()
        .map_err(|error: toml_edit::TomlError| Failure::Usage(format!("{shown} is not TOML: {}", error.message())))?;
    let accounts = document.get("accounts").and_then(Item::as_table_like).map_or(0, TableLike::len);
    let others: Vec<&str> = document.iter().map(|(key, _)| key).filter(|key| *key != "accounts").collect();
    match (accounts, others.as_slice()) {
        (0, _) => Err(Failure::Usage(format!("{shown} has no account: give tables such as [accounts.tronk]"))),
        (_, []) => Ok(document),
        (_, [other, ..]) => Err(Failure::Usage(format!(
            "{shown} holds {other}, and only accounts are taken from it; write the rest into the configuration afterwards"
        ))),
    }
}

/// By the daemon's own loader; nothing of the process's environment has a say.
fn checked(accounts: &DocumentMut) -> Result<Config, Failure> {
    let loaded = config::load(&Sources::from_text(&accounts.to_string()));
    loaded.map_err(|problems| Failure::Usage(problems.to_string().replace("opros.toml", "accounts")))
}

/// Tries every account; false where a vendor refused one.
async fn tried(term: &mut Term, clock: &SharedClock, config: &Config) -> Result<bool, Failure> {
    let setups = app::account_setups(config, clock).map_err(|error| Failure::Usage(error.to_string()))?;
    let mut good = true;
    for setup in &setups {
        let trial = trial::of(setup, clock).await;
        good &= !matches!(trial, Trial::Refused(_));
        say(term, &setup.name, &trial)?;
    }
    Ok(good)
}

fn say(term: &mut Term, name: &str, trial: &Trial) -> Result<(), Failure> {
    let (style, words) = match trial {
        Trial::Good(said) => (GOOD, said.clone()),
        Trial::Refused(why) => (BAD, why.clone()),
        Trial::Unclear(why) => (CARE, format!("could not be tried ({why}); it is written as it is")),
        Trial::NoSuchCall => {
            (CARE, "not tried: this vendor has no free call, and opros does not pay for a test".to_owned())
        }
    };
    term.note(format!("{}: {}", styled(style, text::line(name)), text::line(&words)))?;
    Ok(())
}

fn report(term: &mut Term, place: &Place, written: &[PathBuf]) -> Result<(), Failure> {
    if term.json {
        let value = serde_json::json!({ "config": place.config, "secrets": written });
        term.say_json(&value.to_string())?;
        return Ok(());
    }
    let config = place.config.display();
    let secrets = match written.len() {
        0 => String::new(),
        1 => format!(", and a secret to {}", written[0].display()),
        more => format!(", and {more} secrets to {}", place.secrets.display()),
    };
    term.say(format!("Wrote {config}{secrets} (mode 0600)."))?;
    for secret in written.iter().filter(|path| path.extension().is_some_and(|key| key == "callback_secret")) {
        let name = secret.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let path = secret.display();
        term.say(format!(
            "{name} calls back: give the vendor your proxy's https://…/callbacks/{name}/ and the text of {path} behind it."
        ))?;
    }
    if place.config == Path::new(config::DEFAULT_FILE) {
        term.say("Next: sudo opros doctor; sudo systemctl enable --now opros; opros health")?;
    } else {
        term.say(format!("Next: opros doctor --config {config}; opros serve --config {config}"))?;
    }
    Ok(())
}

/// A document with one account.
fn document_of(name: &str, table: Table) -> DocumentMut {
    let mut accounts = Table::new();
    accounts.set_implicit(true);
    accounts.insert(name, Item::Table(table));
    let mut document = DocumentMut::new();
    document.insert("accounts", Item::Table(accounts));
    document
}
