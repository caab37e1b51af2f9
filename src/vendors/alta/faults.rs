//! What a refusal means. The vendor's table of codes was never published, so everything but code 15 goes by the text.

use std::collections::BTreeMap;

use crate::vendors::lenient;

use super::wire::Refusal;

/// What the operator makes of one of the vendor's codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CodeClass {
    /// Try again later.
    Transient,
    /// The job is refused for good.
    Permanent,
    /// The account is at fault: it pauses.
    Pause,
}

/// 15, "unsupported method", is the only code whose meaning the vendor tells.
pub fn shipped_codes() -> BTreeMap<i64, CodeClass> {
    BTreeMap::from([(15, CodeClass::Permanent)])
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The account has no money: nothing new is ordered, what is paid goes on.
    Money,
    /// The key or the access: no call makes sense.
    Access,
    Transient,
    Permanent,
    /// Nobody knows. Where money is at stake that is permanent, elsewhere it is tried again slowly.
    Unknown,
}

/// Guesses: nobody published the texts. `pause_on` adds to them.
const ACCESS: [&str; 8] = [
    "авториз",
    "секрет",
    "secret",
    "неверный логин",
    "неверный пароль",
    "нет доступа",
    "доступ запрещ",
    "доступ закрыт",
];
const MONEY: [&str; 2] = ["баланс", "средств"];
/// Words of this trade that contain a word of money and mean wagons or their keeper.
const NO_MONEY: [&str; 5] = ["перевозочн", "транспортн", "подвижн", "балансодержат", "технич"];

/// The account's table of faults.
#[derive(Debug, Clone)]
pub struct Faults {
    pub codes: BTreeMap<i64, CodeClass>,
    pub pause_on: Vec<String>,
}

impl Faults {
    /// The operator's word on the code first, then the text.
    pub fn sort(&self, refusal: &Refusal) -> Fault {
        let money = is_about_money(&refusal.text);
        match refusal.code.and_then(|code| self.codes.get(&code)) {
            Some(CodeClass::Transient) => return Fault::Transient,
            Some(CodeClass::Permanent) => return Fault::Permanent,
            Some(CodeClass::Pause) => return if money { Fault::Money } else { Fault::Access },
            None => {}
        }
        let text = refusal.text.to_lowercase();
        if money {
            Fault::Money
        } else if lenient::mentions(&text, &self.pause_on) || ACCESS.iter().any(|word| text.contains(word)) {
            Fault::Access
        } else {
            Fault::Unknown
        }
    }
}

/// "Недостаточно средств" is about money; "номер перевозочного средства" is not.
fn is_about_money(text: &str) -> bool {
    let text = text.to_lowercase();
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.iter().enumerate().any(|(at, word)| {
        let before = at.checked_sub(1).and_then(|before| words.get(before)).copied().unwrap_or_default();
        MONEY.iter().any(|money| word.contains(money))
            && !NO_MONEY.iter().any(|other| word.contains(other) || before.contains(other))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sort(text: &str, code: Option<i64>) -> Fault {
        let mut codes = shipped_codes();
        codes.extend([(7, CodeClass::Pause), (8, CodeClass::Transient)]);
        let faults = Faults { codes, pause_on: vec!["договор расторгнут".into()] };
        faults.sort(&Refusal { code, text: text.into() })
    }

    #[test]
    fn texts_about_money_are_told_from_texts_about_wagons() {
        assert_eq!(sort("Недостаточно средств на счету", Some(3)), Fault::Money);
        assert_eq!(sort("Нулевой баланс", None), Fault::Money);
        assert_eq!(sort("Указан неверный номер перевозочного средства", Some(4)), Fault::Unknown);
        assert_eq!(sort("Превышено количество транспортных средств", None), Fault::Unknown);
        assert_eq!(sort("Не найден балансодержатель вагона", None), Fault::Unknown);
    }

    #[test]
    fn texts_about_access_and_the_operators_own_pause() {
        assert_eq!(sort("Ошибка авторизации", None), Fault::Access);
        assert_eq!(sort("ДОГОВОР РАСТОРГНУТ", None), Fault::Access);
        assert_eq!(sort("Сервис временно недоступен", None), Fault::Unknown);
    }

    #[test]
    fn the_operators_table_outranks_the_text() {
        assert_eq!(sort("Указан неподдерживаемый метод", Some(15)), Fault::Permanent);
        assert_eq!(sort("Недостаточно средств", Some(8)), Fault::Transient);
        assert_eq!(sort("Что-то", Some(7)), Fault::Access);
        assert_eq!(sort("Недостаточно средств", Some(7)), Fault::Money);
    }
}
