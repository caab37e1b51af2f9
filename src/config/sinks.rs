//! `[[webhooks]]` and `[[commands]]`: who is told of events.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};

use super::accounts::Account;
use super::duration;
use super::findings::nearest;
use super::read::is_name;
use super::reader::Section;
use super::shipped;
use crate::domain::EventType;
use crate::domain::delivery::covers;
use crate::guard::{self, Allowed};

/// Any delivery needs some time, and none may hold its place for ever.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);
const MOST_IN_FLIGHT: i64 = 64;
/// Each sink has a loop and asks the store; nobody needs more.
const MOST_SINKS: usize = 64;

#[derive(Debug, Clone, Serialize)]
pub struct Webhook {
    pub name: String,
    pub url: WebhookUrl,
    #[serde(rename = "secret", serialize_with = "hidden")]
    pub signing: Vec<SecretString>,
    pub filter: EventFilter,
    pub format: WebhookFormat,
    #[serde(with = "duration")]
    pub timeout: Duration,
    pub max_in_flight: usize,
    pub allow_http: bool,
    pub allow_private: bool,
}

impl Webhook {
    /// The keys, and what its address hides.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        self.signing.iter().chain(&self.url.hidden)
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct Command {
    pub name: String,
    pub run: Vec<String>,
    pub filter: EventFilter,
    #[serde(with = "duration")]
    pub timeout: Duration,
    pub max_in_flight: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WebhookFormat {
    Standard,
    CloudEvents,
}

/// An empty list means all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct EventFilter {
    pub types: Vec<String>,
    pub kinds: Vec<String>,
    pub accounts: Vec<String>,
    pub tags: Vec<String>,
}

/// A receiver's address. Its path and query may hold a secret: only scheme, host and port are ever shown.
#[derive(Debug, Clone, Default)]
pub struct WebhookUrl {
    pub whole: SecretString,
    shown: String,
    hidden: Option<SecretString>,
}

impl WebhookUrl {
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

impl Serialize for WebhookUrl {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&format!("{}/…", self.shown))
    }
}

fn hidden<S: Serializer>(secrets: &[SecretString], out: S) -> Result<S::Ok, S::Error> {
    out.collect_seq(secrets.iter().map(|_| "…"))
}

pub(super) struct Sinks {
    pub(super) webhooks: Vec<Webhook>,
    pub(super) commands: Vec<Command>,
}

pub(super) fn read(root: &Section<'_>, accounts: &BTreeMap<String, Account>) -> Sinks {
    let webhooks = root.items("webhooks", &shipped::item_defaults("webhooks"), |section| webhook(section, accounts));
    let commands = root.items("commands", &shipped::item_defaults("commands"), |section| command(section, accounts));
    let mut names: Vec<(&str, &String)> = webhooks.iter().map(|webhook| ("webhooks", &webhook.name)).collect();
    names.extend(commands.iter().map(|command| ("commands", &command.name)));
    for (index, (key, name)) in names.iter().enumerate() {
        if !name.is_empty() && names[..index].iter().any(|(_, earlier)| earlier == name) {
            root.problem(key, "two webhooks or commands have the same name; each needs one of its own");
        }
    }
    if names.len() > MOST_SINKS {
        root.problem("webhooks", format!("there may be at most {MOST_SINKS} webhooks and commands together"));
    }
    Sinks { webhooks, commands }
}

fn webhook(section: &Section<'_>, accounts: &BTreeMap<String, Account>) -> Webhook {
    let (allow_http, allow_private) = (section.flag("allow_http"), section.flag("allow_private"));
    let formats = [("standard", WebhookFormat::Standard), ("cloudevents", WebhookFormat::CloudEvents)];
    let webhook = Webhook {
        name: name(section),
        url: url(section, Allowed { http: allow_http, private: allow_private }),
        signing: section.secrets("secret"),
        filter: filter(section, accounts),
        format: section.one_of("format", &formats, WebhookFormat::Standard),
        timeout: timeout(section),
        max_in_flight: section.whole("max_in_flight", 1..=MOST_IN_FLIGHT),
        allow_http,
        allow_private,
    };
    let good = |secret: &SecretString| is_signing_secret(secret.expose_secret());
    if section.is_sound("secret") && !webhook.signing.iter().all(good) {
        let how = "must be whsec_ and the base64 of 24 to 64 random bytes; make one with: echo whsec_$(openssl rand -base64 32)";
        section.problem("secret", how);
    }
    webhook
}

fn command(section: &Section<'_>, accounts: &BTreeMap<String, Account>) -> Command {
    let command = Command {
        name: name(section),
        run: section.texts("run"),
        filter: filter(section, accounts),
        timeout: timeout(section),
        max_in_flight: section.whole("max_in_flight", 1..=MOST_IN_FLIGHT),
    };
    match command.run.first() {
        None if section.is_sound("run") => {
            section.problem("run", "must name a program: [\"/path/to/program\", \"argument\"]")
        }
        Some(program) if !program.starts_with('/') => {
            section.problem("run", "must begin with the program's whole path, such as \"/usr/local/bin/on-event\"");
        }
        Some(program) if !std::path::Path::new(program).is_file() => {
            section.warning("run", "names a program that is not there (yet)");
        }
        _ => {}
    }
    command
}

fn name(section: &Section<'_>) -> String {
    let name = section.text("name");
    if section.is_sound("name") && !is_name(&name) {
        section.problem("name", "a sink's name is 1 to 32 of a-z 0-9 _ -");
    }
    name
}

fn timeout(section: &Section<'_>) -> Duration {
    let timeout = section.duration_from("timeout", SHORTEST_TIMEOUT);
    if timeout > LONGEST_TIMEOUT {
        section.problem("timeout", "must be at most \"10m\"");
    }
    timeout
}

fn url(section: &Section<'_>, allowed: Allowed) -> WebhookUrl {
    let text = section.text("url");
    if !section.is_sound("url") {
        return WebhookUrl::default();
    }
    match guard::check(&text, allowed) {
        Ok(url) => {
            let secret = url.query().filter(|query| !query.is_empty()).map(SecretString::from);
            WebhookUrl { shown: guard::shown(&url), hidden: secret, whole: SecretString::from(text) }
        }
        Err(message) => {
            section.problem("url", message);
            WebhookUrl::default()
        }
    }
}

/// What `sinks` asks of a secret, too: it is checked before the daemon starts.
fn is_signing_secret(text: &str) -> bool {
    let key = text.strip_prefix("whsec_").and_then(|text| BASE64_STANDARD.decode(text).ok());
    key.is_some_and(|key| (24..=64).contains(&key.len()))
}

fn filter(section: &Section<'_>, accounts: &BTreeMap<String, Account>) -> EventFilter {
    let section = section.section("filter");
    let filter = EventFilter {
        types: section.texts("types"),
        kinds: section.texts("kinds"),
        accounts: section.texts("accounts"),
        tags: section.texts("tags"),
    };
    let names = || EventType::ALL.iter().map(|kind| kind.as_str().to_owned());
    for wish in &filter.types {
        if !names().any(|name| covers(wish, &name)) {
            section.problem_near("types", "names an event that there is not", nearest(wish, names()));
        }
    }
    for wish in filter.accounts.iter().filter(|wish| !accounts.contains_key(*wish)) {
        let known = accounts.keys().cloned();
        section.problem_near("accounts", "names an account that is not configured", nearest(wish, known));
    }
    section.finish();
    filter
}
