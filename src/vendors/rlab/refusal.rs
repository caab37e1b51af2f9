//! Sorting a refusal (`resultState` 2) by the vendor's words.
//!
//! One text is documented, that of a wrong key. The other words are what such a text can hardly do without; they lean to the
//! side that loses nothing (a paused account, a request sent later), since the rest ends the job. `pause_on` adds to them.

use crate::domain::Reason;
use crate::vendors::faults::{self, About, Lexicon};
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

const LEXICON: Lexicon = Lexicon {
    credentials: &[],
    access: &[],
    money: &[
        "тариф* + истек|истекает|истекла|законч*|окончен|окончился|исчерпан*|просрочен*|оплат*|оплач*|продл*|отключен*",
    ],
    vague_credentials: &[faults::KEY],
    vague_access: &[],
    vague_money: &["баланс|баланса|балансе|балансом", "тариф|тарифа|тарифу"],
};

/// `words` are whole, as the vendor sent them.
pub fn sort(common: &Common, words: &str) -> Refusal {
    let shown = lenient::excerpt(words);
    match faults::about(words, &LEXICON, &common.pause_on) {
        About::Credentials => {
            let advice = "check user_id and user_key";
            account("bad_credentials", format!("R-Lab refuses the key: {shown} ({advice})"), false)
        }
        About::Access => account("account_refused", format!("R-Lab refuses the account: {shown}"), false),
        About::Money => account("no_money", format!("R-Lab's tariff or balance has ended: {shown}"), true),
        // State 2 is "none of it was done", whatever stood in the way.
        About::Later | About::Broken => {
            Refusal::Later(Reason::new("vendor_busy", format!("R-Lab asks to come later: {shown}")))
        }
        About::Other => Refusal::Item(Reason::new("vendor_refused", format!("R-Lab refused it: {shown}"))),
    }
}

fn account(code: &str, message: String, money: bool) -> Refusal {
    Refusal::Account { reason: Reason::new(code, message), money }
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
            ("Некорректный трек-номер, исправьте и повторите", "vendor_refused"),
            ("Ключевое поле не заполнено", "vendor_refused"),
            ("Посылка из Turkey не найдена", "vendor_refused"),
            ("Данный ключ отсутствует в словаре.", "vendor_refused"),
            ("Не найден тарифный план доставки", "vendor_refused"),
            ("Слишком много запросов, повторите через 5 минут", "vendor_busy"),
            ("Timeout expired", "vendor_busy"),
            ("trackingRequestKey", "bad_credentials"),
            ("", "vendor_refused"),
        ];
        for (words, code) in table {
            let (Refusal::Account { reason, .. } | Refusal::Later(reason) | Refusal::Item(reason)) =
                sort(&common(), words);
            assert_eq!(reason.code, code, "{words}");
        }
    }
}
