//! `config check`: the daemon's own loader, without the daemon.

use serde_json::json;

use super::exit::Exit;
use super::failure::Failure;
use super::output::{CARE, GOOD, Term, styled};
use super::text;
use crate::config::{self, Config, Problem, Problems, Sources};

/// A judgement that the loader cannot make.
pub type Further<'a> = &'a dyn Fn(&Config) -> Result<(), Problems>;

pub fn check(term: &mut Term, sources: &Sources, further: Further<'_>) -> Result<Exit, Failure> {
    match config::load(sources).and_then(|config| further(&config).map(|()| config)) {
        Ok(config) => sound(term, &config),
        Err(problems) => {
            for problem in &problems.0 {
                say(term, "problem", problem)?;
            }
            Ok(Exit::Usage)
        }
    }
}

fn sound(term: &mut Term, config: &Config) -> Result<Exit, Failure> {
    for warning in &config.warnings {
        say(term, "warning", warning)?;
    }
    if !term.json {
        let accounts: Vec<String> = config.accounts.keys().map(|name| text::line(name)).collect();
        let accounts = if accounts.is_empty() { "no accounts yet".to_owned() } else { accounts.join(", ") };
        term.say(format!("{}: {accounts}", styled(GOOD, "The configuration is sound")))?;
    }
    Ok(Exit::Ok)
}

/// A problem is what the command was asked for, so it goes to stdout.
fn say(term: &mut Term, what: &str, problem: &Problem) -> Result<(), Failure> {
    if term.json {
        let Problem { file, line, key, message, hint, .. } = problem;
        let value = json!({ "what": what, "file": file, "line": line, "key": key, "message": message, "hint": hint });
        term.say_json(&value.to_string())?;
    } else if what == "warning" {
        term.say(format!("{} {}", styled(CARE, "warning:"), text::line(&problem.to_string())))?;
    } else {
        term.say(text::line(&problem.to_string()))?;
    }
    Ok(())
}
