//! The effective configuration as TOML, for `opros config show` and the log. Secrets are "…", which no loading accepts.

use serde_json::Value;

use super::sections::Config;

impl Config {
    /// What holds after all layers, without secrets.
    pub fn render_redacted(&self) -> String {
        let mut text = String::new();
        // Plain data with text keys always becomes JSON.
        let Ok(Value::Object(sections)) = serde_json::to_value(self) else { return text };
        for (name, section) in &sections {
            match section {
                Value::Object(accounts) if name == "accounts" => {
                    for (account, keys) in accounts {
                        table(&mut text, &format!("accounts.{account}"), keys);
                    }
                }
                Value::Array(items) => {
                    for keys in items {
                        // A table in a list has one pair of brackets more.
                        table(&mut text, &format!("[{name}]"), keys);
                    }
                }
                keys => table(&mut text, name, keys),
            }
        }
        text
    }
}

fn table(text: &mut String, name: &str, keys: &Value) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&format!("[{name}]\n"));
    pairs(text, keys);
}

fn pairs(text: &mut String, keys: &Value) {
    for (key, value) in keys.as_object().into_iter().flatten() {
        text.push_str(&format!("{key} = {}\n", inline(value)));
    }
}

/// A kind has a dot in its name, which TOML would read as two names.
fn name(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if key.chars().all(is_bare) { key.to_owned() } else { Value::from(key).to_string() }
}

fn inline(value: &Value) -> String {
    match value {
        Value::Object(keys) if keys.is_empty() => "{}".to_owned(),
        Value::Object(keys) => {
            let pair = |(key, value): (&String, &Value)| format!("{} = {}", name(key), inline(value));
            let pairs: Vec<String> = keys.iter().map(pair).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        Value::Array(values) => format!("[{}]", values.iter().map(inline).collect::<Vec<_>>().join(", ")),
        // JSON's text is TOML's, but for one character that TOML wants escaped.
        Value::String(_) => value.to_string().replace('\u{7f}', "\\u007F"),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
