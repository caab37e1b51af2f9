//! What is sent: an event in one of the two published forms.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::{Parcel, TEST};
use crate::domain::{Event, Timestamp};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Standard Webhooks 1.0: `type`, `timestamp`, `data`.
    Standard,
    /// CloudEvents 1.0, structured mode.
    CloudEvents,
}

impl Format {
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Standard => "application/json",
            Format::CloudEvents => "application/cloudevents+json; charset=utf-8",
        }
    }

    pub fn body(self, parcel: &Parcel) -> Bytes {
        match self {
            Format::Standard => {
                let head = json!({ "type": parcel.kind, "timestamp": parcel.at.to_rfc3339() }).to_string();
                // Data is JSON already, and stays byte for byte what the stream shows.
                format!("{},\"data\":{}}}", head.trim_end_matches('}'), parcel.data).into()
            }
            Format::CloudEvents => parcel.cloud_event.clone().into(),
        }
    }
}

/// An event on the wire: the same on the socket's stream, to a command and in a CloudEvents webhook.
#[derive(Debug, Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: String,
    #[serde(rename = "type")]
    kind: &'a str,
    /// Left out where there is none: the published SDK refuses a null.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    time: String,
    sequence: String,
    datacontenttype: &'static str,
    data: &'a RawValue,
}

/// The event's stable id, on every way that it goes.
pub fn event_id(instance: &str, seq: i64) -> String {
    format!("{instance}-{seq}")
}

pub fn parcel(instance: &str, event: &Event) -> Parcel {
    let id = event_id(instance, event.seq);
    let account = event.account.as_ref().map(|name| format!("account/{name}"));
    let subject = event.job.map(|job| job.to_string()).or(account);
    let kind = event.kind.as_str();
    parcel_of(instance, id, event.seq.to_string(), kind, subject, event.at, event.data.clone())
}

/// An event that never happened.
pub fn test_parcel(instance: &str, token: &str, sink: &str, at: Timestamp) -> Parcel {
    let data = json!({ "webhook": sink, "message": "a test, sent by hand: nothing has happened" }).to_string();
    let id = format!("{instance}-test-{token}");
    parcel_of(instance, id, "0".to_owned(), TEST, None, at, data)
}

fn parcel_of(
    instance: &str,
    id: String,
    sequence: String,
    kind: &str,
    subject: Option<String>,
    at: Timestamp,
    data: String,
) -> Parcel {
    // What is no JSON (a damaged row) is null, as on the stream.
    let data = RawValue::from_string(data).unwrap_or_else(|_| RawValue::NULL.to_owned());
    let event = CloudEvent {
        specversion: "1.0",
        id: &id,
        source: format!("/opros/{instance}"),
        kind,
        subject,
        time: at.to_rfc3339(),
        sequence,
        datacontenttype: "application/json",
        data: &data,
    };
    // Made of texts and checked JSON: it can always be written.
    let cloud_event = serde_json::to_string(&event).unwrap_or_default();
    Parcel { cloud_event, kind: kind.to_owned(), at, data: data.get().to_owned(), id }
}

/// What a filter looks for inside an event.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Inside {
    pub kind: Option<String>,
    pub tag: Option<String>,
}

impl Inside {
    pub fn of(event: &Event) -> Inside {
        serde_json::from_str(&event.data).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::domain::{EventType, JobId};

    fn event() -> Event {
        Event {
            seq: 7,
            kind: EventType::JobSucceeded,
            at: Timestamp::from_millis(1_800_000_000_000),
            job: Some(JobId(812)),
            account: Some("tronk".to_owned()),
            data: r#"{"kind":"tronk.report","tag":"a\"b"}"#.to_owned(),
            mailbox_seq: None,
        }
    }

    #[test]
    fn the_standard_body_has_type_timestamp_and_data() {
        let body = Format::Standard.body(&parcel("inst", &event()));
        let text = std::str::from_utf8(&body).unwrap();
        let expected = r#"{"timestamp":"2027-01-15T08:00:00.000Z","type":"job.succeeded","data":{"kind":"tronk.report","tag":"a\"b"}}"#;
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), serde_json::from_str::<Value>(expected).unwrap());
    }

    #[test]
    fn a_cloud_event_has_the_stable_id_and_the_number() {
        let body = Format::CloudEvents.body(&parcel("inst", &event()));
        let value: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((value["id"].as_str(), value["sequence"].as_str()), (Some("inst-7"), Some("7")));
        assert_eq!((value["subject"].as_str(), value["source"].as_str()), (Some("812"), Some("/opros/inst")));
    }

    #[test]
    fn damaged_data_is_null_and_a_filter_finds_nothing_in_it() {
        let damaged = Event { data: "{broken".to_owned(), ..event() };
        assert_eq!(parcel("inst", &damaged).data, "null");
        assert!(Inside::of(&damaged).kind.is_none());
    }
}
