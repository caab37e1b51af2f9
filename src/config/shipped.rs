//! The built-in defaults: the shipped file itself. A vendor's defaults are its commented-out account there.

use std::sync::LazyLock;

use figment::value::{Dict, Value};

use super::document::Document;

/// The file that packages install, word for word.
pub const SHIPPED: &str = include_str!("../../config/opros.toml");

/// Stands in the shipped file for what only the user knows.
pub(super) const PLACEHOLDER: &str = "…";

/// Every setting of the shipped file, the commented-out accounts included.
pub(super) fn everything() -> &'static Dict {
    // Read once: every webhook and command asks for its defaults.
    static EVERYTHING: LazyLock<Dict> = LazyLock::new(|| {
        let text: String = SHIPPED.lines().map(|line| uncomment(line).to_owned() + "\n").collect();
        let document = Document::parse("config/opros.toml", text);
        document.expect("the shipped file is TOML, commented-out accounts included: a test holds it").to_dict()
    });
    &EVERYTHING
}

/// `#word` is a setting that is commented out, `# word` is prose.
fn uncomment(line: &str) -> &str {
    match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()) => rest,
        _ => line,
    }
}

/// The defaults of one vendor's accounts, without what only the user knows; `None` for a vendor nobody knows.
pub(super) fn account_defaults(everything: &Dict, vendor: &str) -> Option<Dict> {
    let accounts = everything.get("accounts")?.as_dict()?;
    let mut account = accounts.get(vendor)?.as_dict()?.clone();
    account.retain(|key, value| key != "vendor" && value.as_str() != Some(PLACEHOLDER));
    Some(account)
}

/// The defaults of a webhook or a command: what the shipped example holds, without what only the user knows.
pub(super) fn item_defaults(key: &str) -> Dict {
    let example = everything().get(key).and_then(Value::as_array).and_then(|items| items.first());
    let mut defaults = example.and_then(Value::as_dict).cloned().unwrap_or_default();
    defaults.retain(|_, value| value.as_str() != Some(PLACEHOLDER));
    defaults
}

/// The shipped sections, with `accounts` in the place of the examples.
pub(super) fn with_accounts(everything: &Dict, accounts: Dict) -> Dict {
    let sections = everything.iter().filter(|(name, value)| *name != "accounts" && value.as_array().is_none());
    let mut sections: Dict = sections.map(|(name, value)| (name.clone(), value.clone())).collect();
    sections.insert("accounts".to_owned(), Value::from(accounts));
    sections
}
