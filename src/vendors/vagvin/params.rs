//! What may be ordered: checked and put into the vendor's spelling before anything is stored or paid.

use serde_json::{Map, Value, json};

use super::catalogue::{self, Brands, CHECKS, Check, GET_BALANCE};
use super::vin;
use crate::vendors::{Checked, ParamProblem, lenient};

pub const REPORT: &[&str] =
    &["vin", "check_type", "car_brand", "report_language", "telegram_id", "client_email", "your_email", "force"];

/// Longer than any true value; a slip of the clipboard is not sent to people.
const LONGEST: usize = 200;

pub fn balance(params: &Value) -> Result<Checked, Vec<ParamProblem>> {
    let Some(fields) = params.as_object() else {
        return Err(vec![ParamProblem::at("", "params must be a JSON object; vagvin.balance takes an empty one: {}")]);
    };
    let problems: Vec<ParamProblem> =
        fields.keys().map(|name| ParamProblem::at(name, "vagvin.balance takes no params: leave it out")).collect();
    if problems.is_empty() { Ok(Checked::new(json!({}))) } else { Err(problems) }
}

pub fn report(params: &Value) -> Result<Checked, Vec<ParamProblem>> {
    let Some(fields) = params.as_object() else { return Err(vec![no_object()]) };
    let mut form = Form { given: params, problems: Vec::new(), out: Map::new() };
    form.refuse_strangers(fields);
    let force = form.force();
    let warnings = form.vin().into_iter().collect();
    let check = form.check_type(force);
    form.brand(check, force);
    form.language(check, force);
    form.telegram();
    form.email("client_email");
    form.email("your_email");
    if form.problems.is_empty() {
        Ok(Checked { warnings, ..Checked::new(Value::Object(form.out)) })
    } else {
        Err(form.problems)
    }
}

fn no_object() -> ParamProblem {
    ParamProblem::at("", "params must be a JSON object, such as {\"vin\": \"…\", \"check_type\": \"…\"}")
}

struct Form<'a> {
    given: &'a Value,
    problems: Vec<ParamProblem>,
    out: Map<String, Value>,
}

impl Form<'_> {
    fn problem(&mut self, name: &str, message: impl Into<String>) {
        self.problems.push(ParamProblem::at(name, message));
    }

    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.out.insert(name.to_owned(), value.into());
    }

    fn refuse_strangers(&mut self, fields: &Map<String, Value>) {
        for name in fields.keys().filter(|name| !REPORT.contains(&name.as_str())) {
            self.problem(name, format!("vagvin.report knows no param {name:?}; it takes {}", REPORT.join(", ")));
        }
    }

    /// Text or a number; what is neither is a problem, what is absent or empty is none.
    fn text(&mut self, name: &str) -> Option<String> {
        let given = self.given;
        let value = given.get(name).filter(|value| !value.is_null())?;
        if !value.is_string() && !value.is_number() {
            self.problem(name, format!("{name} must be text"));
            return None;
        }
        let text = lenient::string(value)?;
        if text.chars().count() > LONGEST || text.chars().any(char::is_control) {
            self.problem(name, format!("{name} must be one line of at most {LONGEST} characters"));
            return None;
        }
        Some(text)
    }

    /// As [`Form::text`], and absent is a problem too, unless it has one already.
    fn needed(&mut self, name: &str, hint: &str) -> Option<String> {
        let before = self.problems.len();
        let text = self.text(name);
        if text.is_none() && self.problems.len() == before {
            self.problem(name, format!("{name} is missing: {hint}"));
        }
        text
    }

    fn force(&mut self) -> bool {
        match self.given.get("force") {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(value) if lenient::truthy(value) => {
                // Kept, so that a retry of the job passes too.
                self.put("force", true);
                true
            }
            Some(_) => {
                self.problem("force", "force must be true or false");
                false
            }
        }
    }

    /// Puts the VIN; gives back a doubt about it.
    fn vin(&mut self) -> Option<String> {
        let typed = self.needed("vin", "give the 17 characters of the vehicle identification number")?;
        let vin = vin::normalise(&typed);
        if let Some(fault) = vin::fault(&vin) {
            self.problem("vin", fault);
            return None;
        }
        let doubt = vin::doubt(&vin);
        self.put("vin", vin);
        doubt
    }

    fn check_type(&mut self, force: bool) -> Option<&'static Check> {
        let names = CHECKS.iter().map(|check| check.name).collect::<Vec<_>>().join(", ");
        let typed = self.needed("check_type", &format!("give one of {names}"))?;
        if typed.eq_ignore_ascii_case(GET_BALANCE) {
            self.problem("check_type", "get_balance is no report: submit a job of kind vagvin.balance");
            return None;
        }
        let check = catalogue::check(&typed);
        match check {
            Some(check) => self.put("check_type", check.name),
            None if force => self.put("check_type", typed),
            None => self.problem("check_type", format!("{typed:?} is not one of {names}{}", ANYWAY)),
        }
        check
    }

    /// `check`: none when the type itself is unknown; then there is no list to hold the brand against.
    fn brand(&mut self, check: Option<&Check>, force: bool) {
        let Some(check) = check else { return self.keep("car_brand") };
        let Brands::Of(brands) = check.brands else { return self.keep("car_brand") };
        let allowed = brands.join(", ");
        let typed =
            if force { self.text("car_brand") } else { self.needed("car_brand", &format!("give one of {allowed}")) };
        let Some(typed) = typed else { return };
        match check.brand(&typed) {
            Some(brand) => self.put("car_brand", brand),
            None if force => self.put("car_brand", typed),
            None => self.problem("car_brand", format!("{} takes {allowed}; not {typed:?}{ANYWAY}", check.name)),
        }
    }

    fn language(&mut self, check: Option<&Check>, force: bool) {
        let allowed = check.map_or_else(|| "the report's language".to_owned(), |check| check.languages.join(", "));
        let typed = if force {
            self.text("report_language")
        } else {
            self.needed("report_language", &format!("give {allowed}"))
        };
        let Some(typed) = typed else { return };
        let spelled = catalogue::language(&typed);
        match check {
            Some(check) if check.language(&typed).is_none() && !force => {
                self.problem("report_language", format!("{} comes in {allowed}; not in {typed:?}{ANYWAY}", check.name))
            }
            Some(_) | None => self.put("report_language", spelled.map_or(typed, str::to_owned)),
        }
    }

    fn keep(&mut self, name: &str) {
        if let Some(text) = self.text(name) {
            self.put(name, text);
        }
    }

    fn telegram(&mut self) {
        self.keep("telegram_id");
    }

    fn email(&mut self, name: &str) {
        let Some(text) = self.text(name) else { return };
        let shaped = text.split_once('@').is_some_and(|(who, host)| {
            !who.is_empty() && host.contains('.') && !host.contains('@') && !text.contains([' ', ',', ';'])
        });
        if shaped {
            self.put(name, text);
        } else {
            self.problem(name, format!("{name} must be one e-mail address; {text:?} is none"));
        }
    }
}

const ANYWAY: &str = " (\"force\": true sends it as it is)";
