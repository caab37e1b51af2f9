//! R-Lab's requests, and the envelope of its answers.

use md5::{Digest, Md5};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use super::Settings;
use crate::domain::Reason;
use crate::domain::exchange::{Answer, Body, Host, Method, Request};
use crate::vendors::lenient;
use crate::vendors::salvage::Last;

/// The vendor's limit for reading and deleting; none is documented for adding, so that it is kept to as well.
pub const MAX_TRACKS: usize = 100;

/// "If no SMS is to be sent, give the number 79000000000."
pub const NO_SMS_PHONE: &str = "79000000000";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Add,
    Get,
    Update,
    Delete,
    UserInfo,
}

impl Operation {
    const fn op(self) -> &'static str {
        match self {
            Operation::Add => "addtrack",
            Operation::Get => "gettrackinfo",
            Operation::Update => "updatetrack",
            Operation::Delete => "deltrack",
            Operation::UserInfo => "getuserinfo",
        }
    }
}

/// Our name of a param, the vendor's name of it in `trackingData`.
pub const ITEM_FIELDS: [(&str, &str); 10] = [
    ("track", "trackingUserClientTrack"),
    ("phone", "trackingUserClientPhone"),
    ("email", "trackingUserClientEmail"),
    ("name", "trackingUserClientName"),
    ("item_cost", "trackingUserClientItemCost"),
    ("order_number", "trackingUserClientOrderNumber"),
    ("description", "trackingUserClientDescription"),
    ("delivery_service_id", "trackingUserClientDeliveryServiceId"),
    ("send_to_user_email", "sendToUserEmailFullTracking"),
    ("send_to_admin_email", "sendToAdminEmailFullTracking"),
];

/// Fields of an item that only repeat what the request said.
pub fn is_echo(name: &str) -> bool {
    // The last two are in no documented request; real clients send them, and what they mean is not known.
    ITEM_FIELDS.iter().any(|(_, vendor)| vendor.eq_ignore_ascii_case(name))
        || ["trackingUserPaymentType", "trackingDataReferralId"].iter().any(|echo| echo.eq_ignore_ascii_case(name))
}

/// An item in which only the number is filled in; the vendor's samples send the other fields empty.
pub fn bare_item(track: &str) -> Value {
    json!({
        "trackingUserClientPhone": "",
        "trackingUserClientTrack": track,
        "trackingUserClientEmail": "",
        "trackingUserClientName": "",
        "trackingUserClientItemCost": 0,
        "sendToUserEmailFullTracking": false,
        "sendToAdminEmailFullTracking": false,
    })
}

/// An item with all that the params say. For `updatetrack` an empty field means "leave as it is".
pub fn full_item(track: &str, params: &Value) -> Value {
    let mut item = bare_item(track);
    if let Some(fields) = item.as_object_mut() {
        fields.insert("trackingUserClientOrderNumber".to_owned(), Value::from(""));
        fields.insert("trackingUserClientDescription".to_owned(), Value::from(""));
        for (plain, vendor) in ITEM_FIELDS.iter().filter(|(plain, _)| *plain != "track") {
            if let Some(value) = params.get(*plain) {
                fields.insert((*vendor).to_owned(), value.clone());
            }
        }
    }
    item
}

/// A request about these items, signed. The order of the items is the order in the hash.
pub fn request(settings: &Settings, method: Operation, items: Vec<Value>, test_mode: bool) -> Request {
    let tracks: String =
        items.iter().filter_map(|item| item.get("trackingUserClientTrack").and_then(Value::as_str)).collect();
    let data = if method == Operation::UserInfo { Value::Null } else { Value::Array(items) };
    let mut fields = Map::new();
    fields.insert("trackingUserId".to_owned(), Value::from(settings.user_id));
    fields.insert("trackingRequestKey".to_owned(), Value::from(request_key(settings, method, &tracks)));
    fields.insert("testMode".to_owned(), Value::from(test_mode));
    fields.insert("trackingData".to_owned(), data);
    Request {
        op: method.op(),
        method: Method::Post,
        host: Host::Primary,
        path: format!("/{}.ashx", method.op()),
        query: Vec::new(),
        body: Body::Json {
            value: Value::Object(fields),
            secrets: &["/trackingRequestKey"],
            content_type: settings.content_type.clone(),
        },
    }
}

/// md5 over `userId:tracks:userKey`; over `userId:userKey` where no track is spoken of. The user key is used as given.
fn request_key(settings: &Settings, method: Operation, tracks: &str) -> String {
    let key = settings.user_key.expose_secret();
    let text = match method {
        Operation::UserInfo => format!("{}:{key}", settings.user_id),
        Operation::Add | Operation::Get | Operation::Update | Operation::Delete => {
            format!("{}:{tracks}:{key}", settings.user_id)
        }
    };
    crate::domain::exchange::hex(&Md5::digest(text.as_bytes()))
}

/// The envelope of every answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    pub state: ResultState,
    /// The vendor's words.
    pub info: Option<String>,
    /// The HTTP status was one of success.
    pub ok: bool,
    /// The whole answer, for what has no place of its own.
    pub whole: Value,
    /// What stood in `resultData` as JSON in a string.
    inner: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultState {
    Done,
    /// Some items failed; the answer does not say which.
    Partial,
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Data<'a> {
    /// The field is not there at all.
    Missing,
    Null,
    Value(&'a Value),
}

impl Reply {
    /// `last`: what a list that may be cut is worth.
    pub fn read(answer: &Answer, last: Last) -> Result<Reply, Reason> {
        let whole = lenient::json_of_records(answer, last)?;
        let shape =
            |what: &str| Reason::new("wrong_shape", format!("{what}: {}", lenient::excerpt(&whole.to_string())));
        let state = match lenient::integer_field(&whole, "resultState") {
            Some(0) => ResultState::Done,
            Some(1) => ResultState::Partial,
            Some(2) => ResultState::Refused,
            Some(_) => return Err(shape("the answer's resultState is none of 0, 1, 2")),
            None => return Err(shape("the answer has no resultState")),
        };
        let info = lenient::string_field(&whole, "resultInfo");
        // JSON in a string was seen at other .NET services.
        let inner = result_data(&whole).and_then(Value::as_str).and_then(|text| lenient::parse_records(text, last));
        Ok(Reply { state, info, ok: (200..300).contains(&answer.status), whole, inner })
    }

    /// What the answer is about.
    pub fn data(&self) -> Data<'_> {
        match (&self.inner, result_data(&self.whole)) {
            (Some(inner), _) => Data::Value(inner),
            (None, None) => Data::Missing,
            (None, Some(Value::Null)) => Data::Null,
            (None, Some(Value::String(text))) if text.trim().is_empty() => Data::Null,
            (None, Some(value)) => Data::Value(value),
        }
    }

    /// The vendor's words, for a sentence.
    pub fn words(&self) -> String {
        self.info.as_deref().map_or_else(|| "no reason given".to_owned(), lenient::excerpt)
    }

    /// "… ошибок 2": how many items failed, where the words say it.
    pub fn failed_items(&self) -> Option<usize> {
        let words = self.info.as_deref()?.to_lowercase();
        let (_, rest) = words.split_once("ошиб")?;
        let number: String =
            rest.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
        number.parse().ok()
    }

    /// Everything went well, and nothing in the answer contradicts it.
    ///
    /// The vendor's own clients rely on both fields being there, so that an answer without words is not one of its own.
    pub fn is_plain_success(&self) -> bool {
        self.ok && self.state == ResultState::Done && self.info.is_some() && self.failed_items().unwrap_or(0) == 0
    }
}

fn result_data(whole: &Value) -> Option<&Value> {
    let mut fields = whole.as_object().into_iter().flatten();
    fields.find(|(name, _)| name.eq_ignore_ascii_case("resultData")).map(|(_, value)| value)
}
