//! Tronk: reports by phone, plate, VIN or frame, in two families that spell everything differently.
//!
//! The setqueue family (`reportphone`, `reportrequest`, `reportrequestframe`) answers in lower case with `error` true or
//! null; `reportjson` answers in PascalCase and completes its blocks one by one. One request of the quota is spent by
//! each accepted set or create, and nothing in either is an idempotency key.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::bodies;
use super::call::{Call, Incoming, OpClass, Params, Reading, Refusal, Reply};
use super::text::{self, NO_DATE, iso};
use super::world::Desk;
use crate::domain::Timestamp;

/// Blocks of a `reportjson` report that are refreshed one after the other.
const SERVICES: [&str; 4] = ["GIBDD", "RSA", "Mileage", "Pledge"];
const FIRST_ID: u64 = 1001;
const NO_ACCESS: &str = "Закончился доступ или запросы";

#[derive(Debug, Clone)]
pub struct TronkSim {
    pub key: String,
    /// From set or create until the report is there.
    pub ready_after: Duration,
    /// From then until each further block of a `reportjson` report is complete.
    pub block_every: Duration,
    /// Requests left in the quota; without a number it never ends.
    pub requests_left: Option<u64>,
    /// The page names the states but not their numbers; only 1 for "ready" is known from clients.
    pub pending_status: i64,
    pub ready_status: i64,
    /// Phones, plates, VINs that the vendor knows nothing about: refused, and not billed.
    pub no_data: BTreeSet<String>,
    /// A check of one id sooner than this after the last one is a violation. Nothing is blocked.
    pub min_poll: Duration,
}

impl Default for TronkSim {
    fn default() -> Self {
        Self {
            key: "867983b5-d66d-44d7-b440-5bd00b0b8203".to_owned(),
            ready_after: Duration::from_secs(90),
            block_every: Duration::from_secs(15),
            requests_left: None,
            pending_status: 0,
            ready_status: 1,
            no_data: BTreeSet::new(),
            // The vendor's cadence begins with ten seconds; one is left for the way there.
            min_poll: Duration::from_secs(9),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    Phone,
    Request,
    Frame,
    Json,
}

impl Page {
    fn of(path: &str) -> Option<Self> {
        match path {
            "reportphone.ashx" => Some(Page::Phone),
            "reportrequest.ashx" => Some(Page::Request),
            "reportrequestframe.ashx" => Some(Page::Frame),
            "reportjson.ashx" => Some(Page::Json),
            _ => None,
        }
    }

    fn identifiers(self) -> &'static [&'static str] {
        match self {
            Page::Phone => &["phone"],
            Page::Request => &["gosnumber", "vin"],
            Page::Frame | Page::Json => &["frame", "gosnumber", "vin"],
        }
    }
}

#[derive(Debug)]
struct Order {
    id: u64,
    page: Page,
    subject: (&'static str, String),
    at: Timestamp,
    ready_at: Timestamp,
    /// Set through the control plane: what `status` says from now on, whatever the clock says.
    forced: Option<i64>,
    last_poll: Option<Timestamp>,
}

#[derive(Debug)]
pub struct Tronk {
    pub sim: TronkSim,
    orders: BTreeMap<u64, Order>,
}

pub fn read(incoming: &Incoming) -> Option<Reading> {
    let params = incoming.query.clone();
    let json = Value::Null;
    if let Some(file) = incoming.path.strip_prefix("files/") {
        let keys = vec![file.to_owned()];
        return Some(Reading { op: "file".into(), class: OpClass::Other, keys, params, json });
    }
    let page = Page::of(&incoming.path)?;
    let mode = params.get("mode").unwrap_or_default().to_owned();
    let (class, named) = match mode.as_str() {
        "setqueue" | "create" => (OpClass::Submit, page.identifiers()),
        "checkqueue" | "check" | "getresult" | "result" => (OpClass::Poll, &["id"][..]),
        _ => (OpClass::Other, &[][..]),
    };
    let keys = named.iter().filter_map(|name| params.get(name)).map(str::to_owned).collect();
    Some(Reading { op: mode.into(), class, keys, params, json })
}

/// A refusal in the vendor's form: the texts are the only ones that the page lets guess at.
pub fn refuse(call: &Call, refusal: Refusal, now: Timestamp) -> Reply {
    let why = match refusal {
        Refusal::BadKey => "Неверный ключ доступа",
        Refusal::AccessEnded | Refusal::NoMoney => NO_ACCESS,
    };
    failure(call, now, why)
}

fn failure(call: &Call, now: Timestamp, why: &str) -> Reply {
    if Page::of(&call.incoming.path) == Some(Page::Json) {
        return Reply::json(&json!({"Error": true, "ErrorMsg": why, "Msg": null, "Task": null}));
    }
    let date = iso(now);
    // The vendor's page gives VIN and plate for checks of a phone, too.
    let answer = match call.params.get("phone") {
        Some(phone) => json!({"start": date, "end": date, "phone": phone, "error": true, "error_msg": why}),
        None => json!({"start": date, "end": date, "vin": call.params.get("vin").unwrap_or(""),
            "gosnumber": call.params.get("gosnumber").unwrap_or(""), "error": true, "error_msg": why}),
    };
    Reply::json(&answer)
}

impl Tronk {
    pub fn new(sim: TronkSim) -> Self {
        Self { sim, orders: BTreeMap::new() }
    }

    pub fn answer(&mut self, call: &Call, desk: &Desk<'_>) -> Reply {
        if call.op == "file" {
            return self.file(call, desk);
        }
        let Some(page) = Page::of(&call.incoming.path) else {
            return Reply::not_found();
        };
        if call.params.get("key") != Some(&self.sim.key) {
            return refuse(call, Refusal::BadKey, desk.now);
        }
        let json_page = page == Page::Json;
        match (&*call.op, json_page) {
            ("setqueue", false) | ("create", true) => self.set(call, page, desk),
            ("checkqueue" | "getresult", false) | ("check" | "result", true) => self.look(call, page, desk),
            _ => failure(call, desk.now, "Не указан режим работы mode"),
        }
    }

    fn set(&mut self, call: &Call, page: Page, desk: &Desk<'_>) -> Reply {
        let subject = page.identifiers().iter().find_map(|name| Some((*name, subject(name, &call.params)?)));
        let Some((name, value)) = subject else {
            return failure(call, desk.now, "Не указан или неверно указан параметр запроса");
        };
        if self.sim.no_data.contains(&value) {
            return failure(call, desk.now, "Данные не найдены");
        }
        match &mut self.sim.requests_left {
            Some(0) => return refuse(call, Refusal::AccessEnded, desk.now),
            Some(left) => *left -= 1,
            None => {}
        }
        let id = FIRST_ID + self.orders.len() as u64;
        desk.ledger.book(vec![desk.booking(call, "tronk", &value, &id.to_string(), 1)]);
        let ready_at = desk.now + self.sim.ready_after;
        let subject = (name, value);
        let order = Order { id, page, subject, at: desk.now, ready_at, forced: None, last_poll: None };
        let reply = if page == Page::Json { self.task(&order, desk.now) } else { self.queued(&order, desk.now) };
        self.orders.insert(id, order);
        Reply::json(&reply)
    }

    fn look(&mut self, call: &Call, page: Page, desk: &Desk<'_>) -> Reply {
        let id = call.params.get("id").and_then(|id| id.parse::<u64>().ok()).unwrap_or_default();
        if matches!(&*call.op, "checkqueue" | "check") {
            self.watch_the_pace(id, call, desk);
        }
        let Some(order) = self.orders.get(&id).filter(|order| order.page == page) else {
            return failure(call, desk.now, "Отчет с указанным id не найден");
        };
        Reply::json(&match &*call.op {
            "checkqueue" => self.checked(order, desk.now),
            "getresult" => self.link(order, desk),
            "check" => self.task(order, desk.now),
            _ => self.result(order, desk.now),
        })
    }

    fn watch_the_pace(&mut self, id: u64, call: &Call, desk: &Desk<'_>) {
        let Some(order) = self.orders.get_mut(&id) else {
            return;
        };
        let waited = order.last_poll.replace(desk.now).map(|last| desk.now.since(last));
        if let Some(waited) = waited.filter(|waited| *waited < self.sim.min_poll) {
            desk.log.violation(desk.now, call, &id.to_string(), format!("asked again after {waited:?}"));
        }
    }

    fn status(&self, order: &Order, now: Timestamp) -> i64 {
        let by_clock = if now >= order.ready_at { self.sim.ready_status } else { self.sim.pending_status };
        order.forced.unwrap_or(by_clock)
    }

    fn is_ready(&self, order: &Order, now: Timestamp) -> bool {
        self.status(order, now) == self.sim.ready_status
    }

    fn queued(&self, order: &Order, now: Timestamp) -> Value {
        let (name, value) = &order.subject;
        json!({"start": iso(now), "end": iso(now), *name: value, "error": null, "status": self.sim.pending_status,
            "id": order.id, "startgeneration": null, "msg": 0})
    }

    /// `msg` is text here and a number everywhere else: so the page has it.
    fn checked(&self, order: &Order, now: Timestamp) -> Value {
        let ready = self.is_ready(order, now);
        let msg = if ready {
            "Отчет успешно сгенерирован"
        } else {
            "Отчет еще не сгенерирован"
        };
        let ended = if ready { iso(order.ready_at) } else { NO_DATE.to_owned() };
        let result = ready.then(|| report(order).to_string());
        json!({"start": iso(now), "end": iso(now), "error": null, "status": self.status(order, now), "id": order.id,
            "startgeneration": iso(order.at), "endgeneration": ended, "msg": msg, "resultJson": result})
    }

    fn link(&self, order: &Order, desk: &Desk<'_>) -> Value {
        let now = desk.now;
        let ready = self.is_ready(order, now);
        let url = ready.then(|| format!("http://{}/tronk/files/{}.html", desk.addr, order.id));
        let ended = ready.then(|| iso(order.ready_at));
        json!({"start": iso(now), "end": iso(now), "error": null, "status": self.status(order, now), "id": order.id,
            "url": url, "startgeneration": iso(order.at), "endgeneration": ended, "msg": i64::from(ready)})
    }

    fn task(&self, order: &Order, now: Timestamp) -> Value {
        json!({"Error": false, "ErrorMsg": null, "Msg": null, "Task": self.task_body(order, now)})
    }

    fn task_body(&self, order: &Order, now: Timestamp) -> Value {
        let ready = self.is_ready(order, now);
        let services = SERVICES.iter().zip(1..).map(|(name, place)| {
            let at = order.ready_at + self.sim.block_every * place;
            let complete = ready && now >= at;
            let date = if complete { iso(at) } else { NO_DATE.to_owned() };
            json!({"Name": name, "IsComplete": complete, "IsCancel": false, "Date": date})
        });
        let ended = if ready { iso(order.ready_at) } else { NO_DATE.to_owned() };
        json!({"ID": order.id, "Status": self.status(order, now), "StartGenerationDate": iso(order.at),
            "CompleteGenerationDate": ended, "StatusServices": services.collect::<Vec<_>>()})
    }

    fn result(&self, order: &Order, now: Timestamp) -> Value {
        let data = self.is_ready(order, now).then(|| {
            let (name, value) = &order.subject;
            let vin = if *name == "vin" { value.clone() } else { made_up_vin(value) };
            json!({"data": {"Vin": vin, "ReportDate": iso(order.ready_at), "ReportNumber": format!("TR-{}", order.id)}})
        });
        json!({"Error": false, "Msg": null, "Task": self.task_body(order, now), "Result": data})
    }

    /// The page behind `url`: HTML for people, the same as a PDF beside it.
    fn file(&self, call: &Call, desk: &Desk<'_>) -> Reply {
        let name = call.keys.first().map_or("", String::as_str);
        let Some((id, kind)) = name.rsplit_once('.') else {
            return Reply::not_found();
        };
        let order = id.parse().ok().and_then(|id: u64| self.orders.get(&id));
        match (order.filter(|order| self.is_ready(order, desk.now)), kind) {
            (Some(order), "pdf") => {
                Reply::new(StatusCode::OK, "application/pdf", bodies::pdf(&format!("Report {}", order.id)))
            }
            (Some(order), "html") => {
                let page = format!(
                    "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>Отчет {id}</title></head>\
                     <body><h1>Отчет {id}</h1><pre>{}</pre></body></html>\n",
                    report(order)
                );
                Reply::new(StatusCode::OK, "text/html; charset=utf-8", page)
            }
            _ => Reply::not_found(),
        }
    }

    /// Makes `status` of every report on that phone, plate, VIN, or of that id, what it is told. False: there is none.
    pub fn force_status(&mut self, key: &str, status: i64) -> bool {
        self.change(key, |order| order.forced = Some(status))
    }

    /// Makes the reports on that phone, plate, VIN, or of that id, ready at once.
    pub fn make_ready(&mut self, key: &str, now: Timestamp) -> bool {
        self.change(key, |order| {
            order.forced = None;
            order.ready_at = order.ready_at.min(now);
        })
    }

    fn change(&mut self, key: &str, how: impl Fn(&mut Order)) -> bool {
        let meant = |order: &&mut Order| order.subject.1 == key || order.id.to_string() == key;
        self.orders.values_mut().filter(meant).map(how).count() > 0
    }

    pub fn summary(&self) -> Value {
        json!({"orders": self.orders.len(), "requests_left": self.sim.requests_left})
    }
}

fn subject(name: &str, params: &Params) -> Option<String> {
    let value = params.get(name)?;
    let phone = value.len() == 11 && value.bytes().all(|byte| byte.is_ascii_digit());
    (name != "phone" || phone).then(|| value.to_owned())
}

fn made_up_vin(value: &str) -> String {
    let letters = text::md5_hex(value).to_uppercase();
    format!("X{}", &letters[..16])
}

/// The same subject always gives the same report.
fn report(order: &Order) -> Value {
    let (name, value) = &order.subject;
    let luck = text::chance(0, value);
    let regions = ["Москва", "Санкт-Петербург", "Краснодарский край", "Новосибирская область"];
    let cars = [("Skoda", "Octavia"), ("Kia", "Rio"), ("LADA", "Vesta"), ("Toyota", "Camry")];
    let pick = |salt: u64, of: usize| (text::spread(luck ^ salt) % of as u64) as usize;
    let (brand, model) = cars[pick(1, cars.len())];
    json!({
        *name: value,
        "reportNumber": format!("TR-{}", order.id),
        "reportDate": iso(order.ready_at),
        "region": regions[pick(2, regions.len())],
        "cars": [{"brand": brand, "model": model, "year": 2008 + pick(3, 16), "vin": made_up_vin(value),
            "mileage": 10_000 + pick(4, 250_000), "accidents": pick(5, 4)}],
        "adverts": pick(6, 9),
        "comment": "Образцовый отчет: данные вымышлены",
    })
}
