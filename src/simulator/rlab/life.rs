//! What becomes of a parcel: a row of statuses that follows from its number and the clock alone.

use serde_json::{Value, json};

use super::{InfoForm, RlabSim, Track};
use crate::domain::Timestamp;
use crate::simulator::text::{self, dotted};
use crate::simulator::world::Desk;

#[derive(Debug, Clone, Copy)]
struct Stage {
    status: u8,
    operation: &'static str,
    attribute: &'static str,
    phrase: &'static str,
}

const fn stage(status: u8, operation: &'static str, attribute: &'static str, phrase: &'static str) -> Stage {
    Stage { status, operation, attribute, phrase }
}

const ABROAD: Stage = stage(7, "Прием", "Единичный", "Приём отправления за пределами России");
const EXPORT: Stage = stage(5, "Экспорт международной почты", "", "Экспорт в Россию");
const IMPORT: Stage = stage(6, "Импорт международной почты", "", "Импорт в Россию");
const TAKEN: Stage = stage(4, "Прием", "Единичный", "Приём отправления почтовым отделением");
const SORTED: Stage = stage(4, "Обработка", "Покинуло сортировочный центр", "Покинуло сортировочный центр");
const NEAR: Stage = stage(4, "Обработка", "Прибыло в сортировочный центр", "Прибыло в сортировочный центр");
const WAITS: Stage = stage(2, "Обработка", "Прибыло в место вручения", "Ожидает в месте вручения");
const HANDED: Stage = stage(1, "Вручение", "Вручение адресату", "Вручено адресату");
const BACK: Stage = stage(3, "Возврат", "Истек срок хранения", "Возврат отправителю");
const PERHAPS: Stage = stage(8, "Обработка", "Сортировка", "Возможно, в месте вручения");
const OVERDUE: Stage = stage(9, "Обработка", "Сортировка", "Просрочено");

const AT_HOME: &[Stage] = &[TAKEN, SORTED, NEAR, WAITS, HANDED];
const FROM_ABROAD: &[Stage] = &[ABROAD, EXPORT, IMPORT, SORTED, NEAR, WAITS, HANDED];
const RETURNED: &[Stage] = &[TAKEN, SORTED, WAITS, BACK];
const UNSURE: &[Stage] = &[TAKEN, SORTED, PERHAPS, HANDED];
const LOST: &[Stage] = &[TAKEN, SORTED, OVERDUE];

const PLACES: [(&str, &str); 5] = [
    ("Мытищи СЦ", "141027"),
    ("Москва PCI-1", "104001"),
    ("Екатеринбург МСЦ", "620965"),
    ("Казань МСЦ", "420300"),
    ("Новосибирск МСЦ", "630960"),
];

/// Letters at both ends mark an international number. Of the rest nine in ten arrive.
fn stages(number: &str, luck: u64) -> &'static [Stage] {
    if number.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
        return FROM_ABROAD;
    }
    match luck % 100 {
        0..92 => AT_HOME,
        92..95 => RETURNED,
        95..98 => UNSURE,
        _ => LOST,
    }
}

/// Where a parcel stands and since when; none before its first status.
struct Standing {
    stage: Stage,
    since: Timestamp,
    first: Timestamp,
}

impl Track {
    fn standing(&self, number: &str, luck: u64, sim: &RlabSim, now: Timestamp) -> Option<Standing> {
        let all = stages(number, luck);
        let first = self.added + sim.first_status_after;
        if let Some((status, since)) = self.forced {
            let everything = [AT_HOME, FROM_ABROAD, RETURNED, UNSURE, LOST].into_iter().flatten();
            let known = everything.copied().find(|stage| stage.status == status);
            let stage = known.unwrap_or(Stage { status, ..SORTED });
            return Some(Standing { stage, since, first: first.min(since) });
        }
        if now < first {
            return None;
        }
        // Up to a quarter of a step early or late, so that not everything happens at once.
        let began = |place: usize| {
            let shake = text::spread(luck ^ place as u64) % 500;
            let thousandths = place as u64 * 1000 + if place == 0 { 0 } else { shake };
            first + sim.step.mul_f64(thousandths.saturating_sub(250 * u64::from(place > 0)) as f64 / 1000.0)
        };
        let place = (0..all.len()).rev().find(|place| began(*place) <= now)?;
        Some(Standing { stage: all[place], since: began(place), first })
    }

    pub fn row(&self, number: &str, sim: &RlabSim, desk: &Desk<'_>) -> Value {
        let luck = text::chance(desk.seed, number);
        let standing = self.standing(number, luck, sim, desk.now);
        let place = PLACES[(luck >> 32) as usize % PLACES.len()];
        let new = match sim.form {
            InfoForm::Old => false,
            InfoForm::New => true,
            InfoForm::Mixed => luck & (1 << 20) == 0,
        };
        let info = match &standing {
            None => String::new(),
            Some(standing) if new => standing.stage.phrase.to_owned(),
            Some(standing) => lines(standing, place, luck),
        };
        let status = standing.as_ref().map_or(0, |standing| standing.stage.status);
        let since = standing.as_ref().map(|standing| dotted(standing.since));
        let mut row = json!({"trackNumber": number, "trackInfo": info, "trackMainStatus": status,
            "trackCreateDate": dotted(self.added), "trackUpdateDate": since});
        if new {
            row["trackEventDate"] = json!(since);
            row["trackRecepDate"] = json!(standing.map(|standing| dotted(standing.first)));
            row["trackExtraData"] = Value::Null;
            row["trackAdditionalStatus"] = json!(0);
            row["trackingUserClientPhone"] = json!(self.phone);
            row["trackingUserClientEmail"] = json!(self.email);
        }
        row
    }
}

/// The old text, with its two flaws: an hour of one digit, and a line break that sometimes comes too early.
fn lines(standing: &Standing, (place, index): (&str, &str), luck: u64) -> String {
    let Stage { operation, attribute, .. } = standing.stage;
    let date = text::moscow(standing.since).format("%d.%m.%Y %-H:%M:%S");
    let attribute = if luck.is_multiple_of(3) { format!("\r\n{attribute}") } else { format!("{attribute}\r\n") };
    format!(
        "Операция:{operation}\r\nДата:{date}\r\nМесто проведения операции:{place}\r\n\
         Атрибут операции:{attribute}Индекс:{index}\r\n"
    )
}
