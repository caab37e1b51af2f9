//! The dislocation of wagons and containers: records as data, what makes two of them different, and what changed.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::vendors::lenient;

use super::wire;

macro_rules! vehicle {
    ($($text:ident),+ $(,)?) => {
        /// One wagon or container as `show` describes it. The vendor publishes no list of fields: what is not known is kept.
        #[derive(Debug, Clone, PartialEq, Default, Serialize)]
        pub struct Vehicle {
            /// 1 on track, 0 taken off.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub on_track: Option<u8>,
            #[serde(skip_serializing_if = "Option::is_none")]
            pub lon: Option<f64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            pub lat: Option<f64>,
            // Codes are text: they begin with zeros.
            $(#[serde(skip_serializing_if = "Option::is_none")]
            pub $text: Option<String>,)+
            #[serde(flatten)]
            pub extra: Map<String, Value>,
        }

        impl Vehicle {
            /// Numbers as text and the other way round, empty and null alike; a field of a strange type stays as it came.
            fn read(mut fields: Map<String, Value>) -> Self {
                Self {
                    on_track: take(&mut fields, "on_track", |value| wire::flag(value).map(u8::from)),
                    lon: take(&mut fields, "lon", lenient::decimal),
                    lat: take(&mut fields, "lat", lenient::decimal),
                    $($text: take(&mut fields, stringify!($text), lenient::string),)+
                    extra: fields.into_iter().filter_map(|(name, value)| Some((name, present(value)?))).collect(),
                }
            }
        }
    };
}

vehicle!(
    num,
    station,
    station_name,
    state,
    state_name,
    road_name,
    op_date,
    departure_date,
    route_start_date,
    operation,
    nakl_nom,
    okpo,
    owner,
    kgro,
    kgrp,
    train_index,
    train_number,
    fraight,
    fraight_name,
);

/// Takes a field out if it can be read; leaves it where it is if it cannot.
fn take<T>(fields: &mut Map<String, Value>, name: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
    let value = read(fields.get(name)?)?;
    fields.remove(name);
    Some(value)
}

/// Text without the blanks around it; empty text and null say nothing.
fn present(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.trim()).filter(|text| !text.is_empty()).map(Value::from),
        other => Some(other),
    }
}

impl Vehicle {
    /// Stands at the station with this code. Six digits are the same code with a check digit.
    pub fn is_at(&self, code: &str) -> bool {
        self.station
            .as_deref()
            .is_some_and(|station| station == code || (station.len() == 6 && station.starts_with(code)))
    }
}

/// What one or more `show` of a job's hashes said.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Dislocation {
    pub vehicles: BTreeMap<String, Vehicle>,
    /// 1 queued, 2 in the works, 3 and 4 done; of several hashes the least done.
    pub query_status: Option<i64>,
    /// Hashes that the vendor does not show any more, and why.
    /// So are records that cannot be read, by their place in the list.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unreadable: BTreeMap<String, String>,
    /// How many of these are records.
    #[serde(skip)]
    pub broken: usize,
}

impl Dislocation {
    pub fn read(head: &Value, items: Vec<Value>) -> Self {
        let (mut vehicles, mut unreadable) = (BTreeMap::new(), BTreeMap::new());
        for (at, item) in items.into_iter().enumerate() {
            let fields = match item {
                Value::Object(fields) => fields,
                Value::String(text) if text.trim_start().starts_with('{') => {
                    unreadable.insert(format!("#{}", at + 1), lenient::excerpt(&text));
                    continue;
                }
                // Everything that is no record stays in the raw answer.
                _ => continue,
            };
            let vehicle = Vehicle::read(fields);
            let num = vehicle.num.clone().unwrap_or_else(|| format!("#{}", at + 1));
            let mut name = num.clone();
            let mut twin = 2;
            while vehicles.contains_key(&name) {
                name = format!("{num}#{twin}");
                twin += 1;
            }
            vehicles.insert(name, vehicle);
        }
        let query_status = lenient::integer_field(head, "query_status");
        Self { vehicles, query_status, broken: unreadable.len(), unreadable }
    }

    /// Processed: the vendor says so, or says nothing of it and has records.
    pub fn done(&self) -> bool {
        match self.query_status {
            Some(status) => !matches!(status, 1 | 2),
            None => !self.vehicles.is_empty(),
        }
    }

    /// Both hashes of a mixed request, one after the other.
    pub fn join(mut self, other: Dislocation) -> Self {
        self.vehicles.extend(other.vehicles);
        self.unreadable.extend(other.unreadable);
        self.broken += other.broken;
        self.query_status = match (self.query_status, other.query_status) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        self
    }

    /// Over the vehicles' records. How far the vendor's processing is (`query_status`) is no news of a vehicle.
    pub fn fingerprint(&self) -> String {
        lenient::fingerprint(&json!({ "vehicles": self.vehicles, "unreadable": self.unreadable }))
    }

    pub fn data(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// `{"vehicles": {"54676515": {"station": {"from": …, "to": …}}}}`: the vehicles and fields that differ.
pub fn changes(before: Option<&Value>, after: &Value) -> Value {
    let empty = Map::new();
    let vehicles =
        |data: Option<&Value>| data.and_then(|data| data.get("vehicles")).and_then(Value::as_object).cloned();
    let old = vehicles(before).unwrap_or_default();
    let new = vehicles(Some(after)).unwrap_or_default();
    let hidden = after.get("unreadable").and_then(Value::as_object).is_some_and(|hashes| !hashes.is_empty());
    let mut changed = Map::new();
    for (num, record) in &new {
        changed.insert(num.clone(), lenient::diff(old.get(num), record));
    }
    // Vehicles that cannot be seen at the moment have not gone.
    for (num, record) in old.iter().filter(|(num, _)| !hidden && !new.contains_key(*num)) {
        changed.insert(num.clone(), lenient::diff(Some(record), &Value::Object(empty.clone())));
    }
    changed.retain(|_, fields| fields.as_object().is_some_and(|fields| !fields.is_empty()));
    let mut changes = json!({ "vehicles": changed });
    let unreadable = |data: Option<&Value>| data.and_then(|data| data.get("unreadable")).cloned().unwrap_or_default();
    let (from, to) = (unreadable(before), unreadable(Some(after)));
    if from != to {
        changes["unreadable"] = json!({ "from": from, "to": to });
    }
    changes
}

#[cfg(test)]
#[path = "vehicle_tests.rs"]
mod tests;
