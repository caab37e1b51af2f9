//! `trackMainStatus`: the vendor's table.

pub const DELIVERED: i64 = 1;
const RETURN: i64 = 3;
const WAITING_AT_COUNTER: i64 = 2;
const PERHAPS_AT_COUNTER: i64 = 8;
const OVERDUE: i64 = 9;

/// A word for programs and the vendor's words for people.
const MEANINGS: [(i64, &str, &str); 10] = [
    (0, "none", "отсутствует основной статус"),
    (DELIVERED, "delivered", "вручено"),
    (WAITING_AT_COUNTER, "awaiting_pickup", "ожидает в месте вручения"),
    (RETURN, "return", "возврат"),
    (4, "in_transit", "прием почтовым отделением (посылка в пути)"),
    (5, "export_to_russia", "экспорт в Россию"),
    (6, "import_to_russia", "импорт в Россию"),
    (7, "accepted_abroad", "прием почтового отправления за пределами России"),
    (PERHAPS_AT_COUNTER, "perhaps_awaiting_pickup", "посылка возможно в месте вручения"),
    (OVERDUE, "overdue", "просрочено"),
];

/// The word and the vendor's words; a status that the table lacks is "unknown".
pub fn meaning(status: Option<i64>) -> (&'static str, &'static str) {
    let row = MEANINGS.iter().find(|(number, _, _)| Some(*number) == status);
    row.map_or(("unknown", "неизвестный статус"), |(_, word, words)| (word, words))
}

pub fn is_at_counter(status: i64) -> bool {
    matches!(status, WAITING_AT_COUNTER | PERHAPS_AT_COUNTER)
}

/// Mostly the end, but other statuses can follow.
pub fn is_near_end(status: i64) -> bool {
    matches!(status, RETURN | OVERDUE)
}
