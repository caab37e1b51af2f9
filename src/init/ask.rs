//! Asking for accounts on a terminal.

use std::io::{self, BufRead, IsTerminal};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use toml_edit::{DocumentMut, Item, Table, value};

use super::{FORMS, FieldForm, Form, Shape, checked, document_of, say};
use crate::app;
use crate::cli::Failure;
use crate::cli::output::Term;
use crate::clock::SharedClock;
use crate::doctor::trial::{self, Trial};
use crate::store::random_hex;

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;

/// Account after account, until an empty line.
pub async fn accounts(term: &mut Term, clock: &SharedClock, no_test: bool) -> Result<DocumentMut, Failure> {
    if !io::stdin().is_terminal() {
        let words =
            "there is no terminal to ask on: give the accounts as TOML, opros init --accounts FILE (or - for stdin)";
        return Err(Failure::Usage(words.to_owned()));
    }
    let vendors = FORMS.iter().map(|form| form.vendor).collect::<Vec<_>>().join(", ");
    term.note("Which vendors do you have an account at? One after the other; Ctrl-C stops and writes nothing.")?;
    for form in &FORMS {
        term.note(format!("  {:7} {}", form.vendor, form.about))?;
    }
    let mut all = DocumentMut::new();
    loop {
        let count = all.get("accounts").and_then(Item::as_table).map_or(0, Table::len);
        let hint = if count == 0 { "" } else { ", or nothing to finish" };
        let vendor = line(term, &format!("Vendor{hint}: "))?;
        if vendor.is_empty() && count > 0 {
            return Ok(all);
        }
        let Some(form) = FORMS.iter().find(|form| form.vendor == vendor.to_lowercase()) else {
            term.note(format!("It must be one of {vendors}."))?;
            continue;
        };
        let taken = |name: &str| all.get("accounts").and_then(|accounts| accounts.get(name)).is_some();
        let name = or(line(term, &format!("Name of the account [{}]: ", form.vendor))?, form.vendor);
        if taken(&name) {
            term.note(format!("There is an account {name} already; two at one vendor need two names."))?;
            continue;
        }
        let table = fields(term, form)?;
        if is_kept(term, clock, &name, &table, no_test).await? {
            keep(&mut all, &name, table);
        }
    }
}

fn keep(all: &mut DocumentMut, name: &str, table: Table) {
    match all.get_mut("accounts").and_then(Item::as_table_mut) {
        Some(accounts) => drop(accounts.insert(name, Item::Table(table))),
        None => *all = document_of(name, table),
    }
}

fn fields(term: &mut Term, form: &Form) -> Result<Table, Failure> {
    let mut table = Table::new();
    table.insert("vendor", value(form.vendor));
    for field in form.fields {
        table.insert(field.key, ask_field(term, field)?);
    }
    let asked = match form.default_url {
        Some(url) => line(term, &format!("  base_url [{url}]: "))?,
        None => line(term, "  base_url (the vendor gives it out by hand): ")?,
    };
    // The vendor's own address is the default, and may change with an update.
    if !asked.is_empty() && Some(asked.as_str()) != form.default_url {
        table.insert("base_url", value(asked));
    }
    Ok(table)
}

fn ask_field(term: &mut Term, field: &FieldForm) -> Result<Item, Failure> {
    loop {
        let prompt = format!("  {} ({}): ", field.key, field.about);
        let typed = match field.shape {
            Shape::Text | Shape::Number => line(term, &prompt)?,
            Shape::Secret | Shape::MadeUp => hidden(term, &prompt)?,
        };
        match field.shape {
            Shape::MadeUp if typed.is_empty() => return Ok(value(random_hex(16))),
            Shape::Number => match typed.parse::<i64>() {
                Ok(number) => return Ok(value(number)),
                Err(_) => term.note("  It must be a whole number.")?,
            },
            Shape::Text | Shape::Secret | Shape::MadeUp if !typed.is_empty() => return Ok(value(typed)),
            Shape::Text | Shape::Secret | Shape::MadeUp => term.note("  It is needed.")?,
        }
    }
}

/// Whether the account can be read, and the vendor takes it, or it is wanted all the same.
async fn is_kept(
    term: &mut Term,
    clock: &SharedClock,
    name: &str,
    table: &Table,
    no_test: bool,
) -> Result<bool, Failure> {
    let config = match checked(&document_of(name, table.clone())) {
        Ok(config) => config,
        Err(failure) => {
            term.note(format!("{failure}\nEnter the account again."))?;
            return Ok(false);
        }
    };
    if no_test {
        return Ok(true);
    }
    let setups = app::account_setups(&config, clock).map_err(|error| Failure::Usage(error.to_string()))?;
    let Some(setup) = setups.first() else { return Ok(false) };
    let trial = trial::of(setup, clock).await;
    say(term, name, &trial)?;
    if !matches!(trial, Trial::Refused(_)) {
        return Ok(true);
    }
    let answer = line(term, "Keep it all the same? [y/N] ")?;
    Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes" | "д" | "да"))
}

fn or(typed: String, default: &str) -> String {
    if typed.is_empty() { default.to_owned() } else { typed }
}

fn line(term: &mut Term, prompt: &str) -> Result<String, Failure> {
    term.prompt(prompt)?;
    let mut typed = String::new();
    if io::stdin().lock().read_line(&mut typed)? == 0 {
        return Err(stopped());
    }
    Ok(typed.trim().to_owned())
}

/// What is typed is not shown, and the terminal is put right again whatever happens.
fn hidden(term: &mut Term, prompt: &str) -> Result<String, Failure> {
    term.prompt(prompt)?;
    let quiet = Quiet::begin()?;
    let mut typed = Vec::new();
    let stdin = io::stdin();
    let mut stdin = stdin.lock();
    // The keys that end a line by themselves here, beside the line's end.
    loop {
        let byte = match stdin.fill_buf()?.first() {
            Some(byte) => *byte,
            None => CTRL_D,
        };
        stdin.consume(1);
        match byte {
            b'\n' => break,
            CTRL_C | CTRL_D => {
                drop(quiet);
                term.note("")?;
                return Err(stopped());
            }
            byte => typed.push(byte),
        }
    }
    drop(quiet);
    term.note("")?;
    let typed = String::from_utf8(typed).map_err(|_| Failure::Usage("what was typed is not UTF-8".to_owned()))?;
    Ok(typed.trim().to_owned())
}

fn stopped() -> Failure {
    Failure::Usage("stopped; nothing was written".to_owned())
}

/// The terminal without echo, until it is dropped. Ctrl-C comes as a key meanwhile: a signal would leave it mute.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> io::Result<Quiet> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VEOL] = CTRL_C;
        tcsetattr(io::stdin(), OptionalActions::Now, &quiet)?;
        Ok(Quiet(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
