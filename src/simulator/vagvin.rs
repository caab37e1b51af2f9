//! VagVin: an order goes to a person, and hours later the report is POSTed to an address that the client once gave.
//!
//! Nothing but the request is documented. The answers are modest guesses; the call-backs take every form that a client
//! of theirs was seen to be prepared for.

use std::time::Duration;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bodies;
use super::call::{Call, Incoming, OpClass, Params, Reading, Refusal, Reply};
use super::callback::Delivery;
use super::text;
use super::world::Desk;
use crate::domain::Timestamp;

const CHECK_TYPES: [&str; 8] = [
    "check_data_bmw_full",
    "check_data_multibr_zapros",
    "check_elsa_pro_full",
    "check_CarVertical",
    "check_data_mercedes_eva",
    "check_erwin_full",
    "check_etka_full",
    "check_nomer_dws",
];
/// A car that nobody here ordered anything about.
const STRANGER: &str = "WVWZZZ9NZZY000001";
const BOUNDARY: &str = "----oprosSimulatorBoundary7MA4YWxk";
const MOST_SENT: usize = 100_000;

#[derive(Debug, Clone)]
pub struct VagvinSim {
    pub token: String,
    /// Kopecks for one report.
    pub price: i64,
    /// Kopecks; without a number there is always enough.
    pub balance: Option<i64>,
    /// Where reports are POSTed, secret segment included; nowhere until it is set.
    pub callback_url: Option<String>,
    pub answer_after: Duration,
    /// When a late report comes.
    pub late_after: Duration,
    /// The first order gets the first style, and so on, round and round.
    pub styles: Vec<CallbackStyle>,
    /// How often a call-back that nobody took is sent again.
    pub retries: u32,
    pub retry_every: Duration,
}

impl Default for VagvinSim {
    fn default() -> Self {
        let style = |form| CallbackStyle { form, ..CallbackStyle::default() };
        Self {
            token: "vagvin-test-token".to_owned(),
            price: 90_000,
            balance: None,
            callback_url: None,
            answer_after: Duration::from_secs(20 * 60),
            late_after: Duration::from_secs(26 * 3600),
            styles: vec![style(CallbackForm::Json), style(CallbackForm::Urlencoded), style(CallbackForm::Multipart)],
            retries: 5,
            retry_every: Duration::from_secs(60),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallbackForm {
    #[default]
    Json,
    /// JSON whose fields stand inside `data`, which is JSON in a string.
    Nested,
    Urlencoded,
    /// Fields, and the report itself as a PDF.
    Multipart,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallbackWhen {
    /// Before the submit is answered.
    Early,
    #[default]
    OnTime,
    Late,
    Never,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallbackStyle {
    pub form: CallbackForm,
    pub when: CallbackWhen,
    /// Sent this often beyond the first time.
    pub repeats: u32,
    /// Just before it, another one for a car that nobody ordered.
    pub stranger_too: bool,
    /// Just before it, another one to an address with a wrong secret.
    pub wrong_secret_too: bool,
    /// Leaves `check_type` out.
    pub no_check_type: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SentCallback {
    pub at: Timestamp,
    pub vin: String,
    pub order: Option<String>,
    pub url: String,
    /// What the receiver answered.
    pub status: Option<u16>,
    pub error: Option<String>,
}

#[derive(Debug, Clone)]
struct Order {
    id: String,
    vin: String,
    check_type: String,
}

#[derive(Debug)]
pub struct Vagvin {
    pub sim: VagvinSim,
    orders: Vec<Order>,
    sent: Vec<SentCallback>,
}

pub fn read(incoming: &Incoming) -> Option<Reading> {
    let params = Params::default();
    if let Some(file) = incoming.path.strip_prefix("files/") {
        let keys = vec![file.to_owned()];
        return Some(Reading { op: "file".into(), class: OpClass::Other, keys, params, json: Value::Null });
    }
    if incoming.path != "api/processing_queue" || !incoming.post {
        return None;
    }
    let json: Value = serde_json::from_slice(&incoming.body).unwrap_or(Value::Null);
    let keys = json["vin"].as_str().map(str::to_owned).into_iter().collect();
    let balance = json["check_type"] == "get_balance";
    let (op, class) = if balance { ("get_balance", OpClass::Other) } else { ("processing_queue", OpClass::Submit) };
    Some(Reading { op: op.into(), class, keys, params, json })
}

pub fn refuse(refusal: Refusal) -> Reply {
    match refusal {
        Refusal::BadKey => failure(StatusCode::UNAUTHORIZED, "Неверный токен"),
        Refusal::AccessEnded => failure(StatusCode::FORBIDDEN, "Доступ закрыт"),
        Refusal::NoMoney => failure(StatusCode::PAYMENT_REQUIRED, "Недостаточно средств на балансе"),
    }
}

fn failure(status: StatusCode, why: &str) -> Reply {
    Reply::json(&json!({"error": why})).status(status)
}

impl Vagvin {
    pub fn new(sim: VagvinSim) -> Self {
        Self { sim, orders: Vec::new(), sent: Vec::new() }
    }

    pub fn answer(&mut self, call: &Call, desk: &Desk<'_>) -> Reply {
        if call.op == "file" {
            return self.file(call);
        }
        if !call.json.is_object() {
            return failure(StatusCode::BAD_REQUEST, "Ожидается JSON");
        }
        if call.json["token"] != *self.sim.token {
            return refuse(Refusal::BadKey);
        }
        if call.op == "get_balance" {
            let roubles = self.sim.balance.unwrap_or(1_000_000) as f64 / 100.0;
            return Reply::json(&json!({"balance": roubles}));
        }
        match wrong_with(&call.json) {
            Some(why) => failure(StatusCode::BAD_REQUEST, why),
            None => self.submit(call, desk),
        }
    }

    fn submit(&mut self, call: &Call, desk: &Desk<'_>) -> Reply {
        match &mut self.sim.balance {
            Some(balance) if *balance < self.sim.price => return refuse(Refusal::NoMoney),
            Some(balance) => *balance -= self.sim.price,
            None => {}
        }
        let field = |name: &str| call.json[name].as_str().unwrap_or_default().to_owned();
        let id = format!("vv-{}", self.orders.len() + 1);
        let order = Order { id: id.clone(), vin: field("vin"), check_type: field("check_type") };
        let mut booking = desk.booking(call, "vagvin", &order.vin, &id, self.sim.price);
        booking.token = call.json["client_email"].as_str().map(str::to_owned);
        desk.ledger.book(vec![booking]);
        let style = self.style_of(self.orders.len());
        let reply = Reply::json(&json!({"status": "ok", "message": "Запрос добавлен в очередь на обработку"}));
        let reply = self.schedule(reply, &order, style, desk);
        self.orders.push(order);
        reply
    }

    fn style_of(&self, order: usize) -> CallbackStyle {
        let styles = &self.sim.styles;
        styles.get(order % styles.len().max(1)).copied().unwrap_or_default()
    }

    fn schedule(&self, mut reply: Reply, order: &Order, style: CallbackStyle, desk: &Desk<'_>) -> Reply {
        let deliveries = self.deliveries(order, style, desk);
        let after = match style.when {
            CallbackWhen::Never => return reply,
            CallbackWhen::Early => {
                reply.early = deliveries;
                return reply;
            }
            CallbackWhen::OnTime => self.sim.answer_after,
            CallbackWhen::Late => self.sim.late_after,
        };
        reply.later = deliveries.into_iter().map(|delivery| (desk.now + after, delivery)).collect();
        reply
    }

    fn deliveries(&self, order: &Order, style: CallbackStyle, desk: &Desk<'_>) -> Vec<Delivery> {
        let Some(url) = &self.sim.callback_url else {
            return Vec::new();
        };
        let true_one = self.delivery(order, style, desk, url);
        let mut all = Vec::new();
        if style.stranger_too {
            let stranger = Order { id: "vv-0".to_owned(), vin: STRANGER.to_owned(), ..order.clone() };
            all.push(Delivery { order: None, retries: 0, ..self.delivery(&stranger, style, desk, url) });
        }
        if style.wrong_secret_too {
            let door = url.rsplit_once('/').map_or(url.as_str(), |(door, _)| door);
            all.push(Delivery { url: format!("{door}/not-the-secret"), retries: 0, ..true_one.clone() });
        }
        all.extend((0..style.repeats).map(|_| true_one.clone()));
        all.push(true_one);
        all
    }

    fn delivery(&self, order: &Order, style: CallbackStyle, desk: &Desk<'_>, url: &str) -> Delivery {
        let link = format!("http://{}/vagvin/files/{}.pdf", desk.addr, order.id);
        let mut fields = vec![("vin", order.vin.as_str()), ("status", "done"), ("url", &link), ("uid", &order.id)];
        if !style.no_check_type {
            fields.push(("check_type", &order.check_type));
        }
        let (content_type, body) = written(style.form, &fields, &order.vin);
        Delivery {
            url: url.to_owned(),
            content_type,
            body,
            vin: order.vin.clone(),
            order: Some(order.id.clone()),
            retries: self.sim.retries,
            retry_every: self.sim.retry_every,
        }
    }

    /// A call-back out of the blue, for tests: the last order of that VIN, or one that never was.
    pub fn out_of_the_blue(&self, vin: &str, style: CallbackStyle, desk: &Desk<'_>) -> Vec<Delivery> {
        let known = self.orders.iter().rev().find(|order| order.vin == vin).cloned();
        let (id, check_type) = ("vv-0".to_owned(), "check_CarVertical".to_owned());
        let order = known.unwrap_or_else(|| Order { id, vin: vin.to_owned(), check_type });
        self.deliveries(&order, style, desk)
    }

    fn file(&self, call: &Call) -> Reply {
        let name = call.keys.first().and_then(|name| name.strip_suffix(".pdf"));
        match self.orders.iter().find(|order| Some(order.id.as_str()) == name) {
            Some(order) => Reply::new(StatusCode::OK, "application/pdf", pdf_of(&order.vin)),
            None => Reply::not_found(),
        }
    }

    pub fn sent(&mut self, callback: SentCallback) {
        if self.sent.len() < MOST_SENT {
            self.sent.push(callback);
        }
    }

    pub fn callbacks(&self) -> Vec<SentCallback> {
        self.sent.clone()
    }

    pub fn summary(&self) -> Value {
        json!({"orders": self.orders.len(), "balance": self.sim.balance, "callback_url": self.sim.callback_url,
            "callbacks_sent": self.sent.len()})
    }
}

/// The first fault in an order, in words.
fn wrong_with(order: &Value) -> Option<&'static str> {
    let check_type = order["check_type"].as_str().unwrap_or_default();
    let given = |name: &str| order[name].as_str().is_some_and(|value| !value.is_empty());
    if !is_vin(order["vin"].as_str().unwrap_or_default()) {
        Some("VIN должен состоять из 17 латинских символов без I, O, Q")
    } else if !CHECK_TYPES.contains(&check_type) {
        Some("Неизвестный тип проверки")
    } else if !given("car_brand") && check_type != "check_CarVertical" {
        Some("Не указана марка авто")
    } else if !given("report_language") {
        Some("Не указан язык отчета")
    } else {
        None
    }
}

fn is_vin(text: &str) -> bool {
    text.len() == 17 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() && !b"IOQioq".contains(&byte))
}

fn pdf_of(vin: &str) -> Vec<u8> {
    bodies::pdf(&format!("VIN {vin} report {}", &text::md5_hex(vin)[..8]))
}

fn written(form: CallbackForm, fields: &[(&str, &str)], vin: &str) -> (String, Vec<u8>) {
    let object: serde_json::Map<_, _> = fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let object = Value::Object(object);
    match form {
        CallbackForm::Json => ("application/json".to_owned(), object.to_string().into_bytes()),
        CallbackForm::Nested => {
            ("application/json".to_owned(), json!({"data": object.to_string()}).to_string().into_bytes())
        }
        CallbackForm::Urlencoded => {
            let pairs: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
            ("application/x-www-form-urlencoded".to_owned(), pairs.join("&").into_bytes())
        }
        CallbackForm::Multipart => (format!("multipart/form-data; boundary={BOUNDARY}"), multipart(fields, vin)),
    }
}

fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn multipart(fields: &[(&str, &str)], vin: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend(part.into_bytes());
    }
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{vin}.pdf\"\r\n\
         Content-Type: application/pdf\r\n\r\n"
    );
    body.extend(head.into_bytes());
    body.extend(pdf_of(vin));
    body.extend(format!("\r\n--{BOUNDARY}--\r\n").into_bytes());
    body
}
