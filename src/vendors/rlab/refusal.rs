//! Sorting a refusal (`resultState` 2) by the vendor's words.
//!
//! One text is documented, that of a wrong key. The other words are what such a text can hardly do without; they lean to the
//! side that loses nothing (a paused account, a request sent later), since the rest ends the job. `pause_on` adds to them.

use crate::domain::Reason;
use crate::vendors::{Common, lenient};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Key, access or money: nobody's job is at fault.
    Account { reason: Reason, money: bool },
    /// Not now.
    Later(Reason),
    /// Something about one of the items.
    Item(Reason),
}

const MONEY: [&str; 3] = ["баланс", "тариф", "средств"];
const LATER: [&str; 4] = ["позже", "позднее", "повторите", "временно"];

/// `words` are whole, as the vendor sent them.
pub fn sort(common: &Common, words: &str) -> Refusal {
    let lower = words.to_lowercase();
    let shown = lenient::excerpt(words);
    if speaks_of_key(&lower) {
        let advice = "check user_id and user_key";
        return account("bad_credentials", format!("R-Lab refuses the key: {shown} ({advice})"), false);
    }
    if lenient::mentions(words, &common.pause_on) {
        return account("account_refused", format!("R-Lab refuses the account: {shown}"), false);
    }
    if MONEY.iter().any(|word| lower.contains(word)) {
        return account("no_money", format!("R-Lab's tariff or balance has ended: {shown}"), true);
    }
    if LATER.iter().any(|word| lower.contains(word)) {
        return Refusal::Later(Reason::new("vendor_busy", format!("R-Lab asks to come later: {shown}")));
    }
    Refusal::Item(Reason::new("vendor_refused", format!("R-Lab refused it: {shown}")))
}

fn account(code: &str, message: String, money: bool) -> Refusal {
    Refusal::Account { reason: Reason::new(code, message), money }
}

/// A word that begins with "ключ" or ends with "key" (`trackingRequestKey`); "исключение" and "keyboard" are not meant.
fn speaks_of_key(lower: &str) -> bool {
    lower.split(|c: char| !c.is_alphanumeric()).any(|word| word.starts_with("ключ") || word.ends_with("key"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn common() -> Common {
        Common {
            settle: Duration::from_secs(60),
            resubmit: true,
            pause_on: vec!["Пользователь заблокирован".to_owned()],
            loopback: false,
        }
    }

    #[test]
    fn words_decide_who_is_at_fault() {
        let table = [
            ("Некорректный ключ запроса в trackingRequestKey", "bad_credentials"),
            ("wrong key", "bad_credentials"),
            ("пользователь заблокирован администратором", "account_refused"),
            ("Закончился баланс треков", "no_money"),
            ("Срок действия тарифа истек", "no_money"),
            ("Сервис временно недоступен", "vendor_busy"),
            ("Внутреннее исключение", "vendor_refused"),
            ("Некорректный трек номер", "vendor_refused"),
            ("", "vendor_refused"),
        ];
        for (words, code) in table {
            let (Refusal::Account { reason, .. } | Refusal::Later(reason) | Refusal::Item(reason)) =
                sort(&common(), words);
            assert_eq!(reason.code, code, "{words}");
        }
    }
}
