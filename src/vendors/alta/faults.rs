//! What a refusal means. The vendor's table of codes was never published, so everything but code 15 goes by the text.

use std::collections::BTreeMap;

use crate::vendors::faults::{self, About, Lexicon};

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
    /// "Come later": nothing was done.
    Transient,
    /// It broke off at the vendor's; how far it came, nobody knows.
    Broken,
    Permanent,
    /// Nobody knows. Where money is at stake that is permanent, elsewhere it is tried again slowly.
    Unknown,
}

/// Guesses: nobody published the texts. `pause_on` adds to them.
const LEXICON: Lexicon = Lexicon {
    credentials: &[
        "логин|логина|логином|пароль|пароля|паролем|секрет|секрета|login|password|secret + неверн*|неправильн*|некоррект*|ошибочн*|invalid|wrong|incorrect",
        "логин|логина|логином|пароль|пароля|паролем|login|password + не подходит|подходят|совпада*|найден|найдены",
        "ошибка авторизации",
        "не авторизован*",
    ],
    access: &[],
    money: &[],
    vague_credentials: &["авториз*", "секрет|секрета|секретный|secret"],
    vague_access: &["нет доступа", "доступ запрещ*|закры*"],
    // Wagons are "средства" of another sort, and have a "балансодержатель".
    vague_money: &["баланс|баланса|балансе|балансом", "средств|средства"],
};

/// The account's table of faults.
#[derive(Debug, Clone)]
pub struct Faults {
    pub codes: BTreeMap<i64, CodeClass>,
    pub pause_on: Vec<String>,
}

impl Faults {
    /// The operator's word on the code first, then the text.
    pub fn sort(&self, refusal: &Refusal) -> Fault {
        let about = faults::about(&refusal.text, &LEXICON, &self.pause_on);
        match refusal.code.and_then(|code| self.codes.get(&code)) {
            Some(CodeClass::Transient) => return Fault::Transient,
            Some(CodeClass::Permanent) => return Fault::Permanent,
            Some(CodeClass::Pause) => return if about == About::Money { Fault::Money } else { Fault::Access },
            None => {}
        }
        match about {
            About::Money => Fault::Money,
            About::Credentials | About::Access => Fault::Access,
            About::Later => Fault::Transient,
            About::Broken => Fault::Broken,
            About::Other => Fault::Unknown,
        }
    }
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
        assert_eq!(sort("Секретариат не отвечает по этому вагону", None), Fault::Unknown);
        assert_eq!(sort("Нет доступа к сервису", None), Fault::Access);
        assert_eq!(sort("Неверный секретный ключ", None), Fault::Access);
        assert_eq!(sort("Логин и пароль не подходят", None), Fault::Access);
    }

    #[test]
    fn come_later_is_no_refusal_for_good() {
        assert_eq!(sort("Сервис временно недоступен", None), Fault::Transient);
        assert_eq!(sort("Слишком много запросов", Some(3)), Fault::Transient);
        assert_eq!(sort("Нет доступа к сервису, попробуйте позже", None), Fault::Transient);
        assert_eq!(sort("Время ожидания истекло", None), Fault::Broken);
        assert_eq!(sort("Неверный пароль, попробуйте позже", None), Fault::Access);
    }

    #[test]
    fn the_operators_table_outranks_the_text() {
        assert_eq!(sort("Указан неподдерживаемый метод", Some(15)), Fault::Permanent);
        assert_eq!(sort("Недостаточно средств", Some(8)), Fault::Transient);
        assert_eq!(sort("Что-то", Some(7)), Fault::Access);
        assert_eq!(sort("Недостаточно средств", Some(7)), Fault::Money);
    }
}
