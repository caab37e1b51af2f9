//! A page for every code that opros can show: what it means, what to do, whether money was spent. `docs/errors.md` is made
//! of them, and a test holds that no code is without one.

mod accounts;
mod answers;
mod deliveries;
mod exits;
mod health;
mod jobs;
mod requests;

use std::fmt::Write as _;

/// One code, wherever it is shown.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    pub code: &'static str,
    pub places: &'static [Place],
    pub money: Money,
    /// What it means, and how it comes about.
    pub means: &'static str,
    pub todo: &'static str,
}

/// Where a code stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `error` of a job, `error_code` of a mailbox row.
    Job,
    /// `paused` or `last_error` of an account.
    Account,
    /// `code` of a cause in health.
    Health,
    /// The end of `type` in an answer of the socket: `urn:opros:problem:…`.
    Problem,
    /// `errors[].code` in such an answer, and `error_code` of a rejected row.
    Field,
    /// `error` of a delivery to a webhook or a command.
    Delivery,
    /// The exit code of a command.
    Exit,
}

impl Place {
    pub const ALL: [Place; 7] =
        [Place::Job, Place::Account, Place::Health, Place::Field, Place::Problem, Place::Delivery, Place::Exit];

    pub const fn title(self) -> &'static str {
        match self {
            Place::Job => "Jobs and mailbox rows",
            Place::Account => "Accounts",
            Place::Health => "Health",
            Place::Field => "Fields of a request or a row",
            Place::Problem => "Answers of the socket",
            Place::Delivery => "Webhooks and commands",
            Place::Exit => "Exit codes",
        }
    }

    const fn shown(self) -> &'static str {
        match self {
            Place::Job => "as the error of a job or a mailbox row",
            Place::Account => "as the pause or the last error of an account",
            Place::Health => "as a cause in opros health",
            Place::Field => "as the error of a field, in the socket's answer or a rejected row",
            Place::Problem => "as the type of an answer of the socket",
            Place::Delivery => "as the error of a delivery",
            Place::Exit => "as the exit code of a command",
        }
    }
}

/// Whether the vendor was paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Money {
    /// Nothing left the machine.
    NothingSent,
    /// The request left, and was provably not taken.
    NotTaken,
    /// Nobody knows yet.
    Unknown,
    /// The order was taken before this happened.
    Before,
    /// It is not about an order.
    None,
    Says(&'static str),
}

impl Money {
    pub const fn words(self) -> &'static str {
        match self {
            Money::NothingSent => "No: nothing was sent.",
            Money::NotTaken => "No: the vendor did not take it.",
            Money::Unknown => "Perhaps: the vendor may have taken the order. opros does not send it again by itself.",
            Money::Before => "Yes, when the vendor took the order; this adds nothing to it.",
            Money::None => "No money is involved.",
            Money::Says(words) => words,
        }
    }
}

const fn page(
    code: &'static str,
    places: &'static [Place],
    money: Money,
    means: &'static str,
    todo: &'static str,
) -> Page {
    Page { code, places, money, means, todo }
}

/// Every page, by place and in the order in which they are written.
pub fn all() -> impl Iterator<Item = &'static Page> {
    let tables: [&'static [Page]; 7] =
        [jobs::PAGES, answers::PAGES, accounts::PAGES, health::PAGES, requests::PAGES, deliveries::PAGES, exits::PAGES];
    tables.into_iter().flatten()
}

/// The page of a code as it is shown anywhere: `account_paused:tronk`, `urn:opros:problem:bad-json`, `status_503`.
pub fn find(code: &str) -> Option<&'static Page> {
    let bare = bare(code);
    let status = bare.strip_prefix("status_").is_some_and(|rest| rest.parse::<u16>().is_ok());
    let wanted = if status { "status_NNN" } else { bare };
    all().find(|page| page.code.eq_ignore_ascii_case(wanted))
}

fn bare(code: &str) -> &str {
    let code = code.trim();
    let code = code.strip_prefix("urn:opros:problem:").unwrap_or(code);
    code.split_once(':').map_or(code, |(code, _)| code)
}

/// Codes that look like this one, the nearest first.
pub fn near(code: &str) -> Vec<&'static str> {
    let bare = bare(code).to_lowercase();
    let mut scored: Vec<(f64, &str)> = all()
        .map(|page| (strsim::jaro_winkler(page.code, &bare), page.code))
        .filter(|(score, _)| *score > 0.8)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().take(3).map(|(_, code)| code).collect()
}

impl Page {
    pub fn shown(&self) -> String {
        let places: Vec<&str> = self.places.iter().map(|place| place.shown()).collect();
        places.join("; ")
    }

    /// Its first sentence.
    pub fn short(&self) -> &'static str {
        let end = self.means.find(". ").map_or(self.means.len(), |at| at + 1);
        &self.means[..end]
    }
}

/// `docs/errors.md`.
pub fn markdown() -> String {
    let mut out = String::from(HEAD);
    for place in Place::ALL {
        let _ = write!(
            out,
            "\n## {}\n\n| code | means | to do | money spent |\n| --- | --- | --- | --- |\n",
            place.title()
        );
        for page in all().filter(|page| page.places.first() == Some(&place)) {
            let Page { code, money, means, todo, .. } = page;
            let _ = writeln!(out, "| `{code}` | {} | {} | {} |", cell(means), cell(todo), money.words());
        }
        let also: Vec<String> = all()
            .filter(|page| page.places.first() != Some(&place) && page.places.contains(&place))
            .map(|page| format!("`{}`", page.code))
            .collect();
        if !also.is_empty() {
            let _ = write!(out, "\nAlso here: {}.\n", also.join(", "));
        }
    }
    out
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

const HEAD: &str = "\
# Codes

Every code that opros shows, what it means, what to do, and whether money was spent. The same on the terminal: `opros explain CODE`; \
`opros explain` lists them. Sentences may change, codes do not. What stands after a colon is a name: `account_paused:tronk`.

This page is made from `src/cli/pages/` (`WRITE_DOCS=write cargo test --test it errors_md`).
";
