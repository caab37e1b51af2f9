//! What a vendor's refusal is about, told by its words.
//!
//! Hardly any of these texts is published, so the lists are what such texts can hardly do without. Whole words count: an
//! "исключение" is about no "ключ". Each vendor adds its own words; the operator's `pause_on` stands above all of them.

use super::lenient;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The key, the token, the password.
    Credentials,
    /// Access that has ended, or what else the operator wants to pause for.
    Access,
    Money,
    /// Not now: the vendor says that it did nothing.
    Later,
    /// It took too long, or two of the vendor's programs stood in each other's way: how far it came, nobody knows.
    Broken,
    /// The order, one of its numbers, or something that nobody knows.
    Other,
}

/// A vendor's own words. How they are written: [`Words::have`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Lexicon {
    /// What else may be wrong about who asks, beside a key.
    pub credentials: &'static [&'static str],
    pub access: &'static [&'static str],
    pub money: &'static [&'static str],
    /// These speak of who asks as well, but only where nothing says "later".
    pub vague_credentials: &'static [&'static str],
    pub vague_access: &'static [&'static str],
    pub vague_money: &'static [&'static str],
}

/// A key, in every case of it.
pub const KEY: &str = "ключ|ключа|ключу|ключом|ключе|ключи|ключей|key|apikey|requestkey|trackingrequestkey|userkey|токен|токена|токену|токеном|токене|token";
/// Other things that have keys: dictionaries, databases, cars.
const OTHER_KEYS: &[&str] = &[
    "словар*",
    "dictionary",
    "primary",
    "foreign",
    "duplicate",
    "constraint",
    "первичн*",
    "внешн*",
    "ключ* поиска",
    "ключ* зажигания",
];
const WRONG: &str = "неверн*|неправильн*|некоррект*|недейств*|недопустим*|ошибочн*|отозван*|просрочен*|истек|истекла|истекло|удален|неактивен\
|отсутствует|деактивирован*|отклонен*|invalid|wrong|incorrect|unknown|expired|revoked|bad|missing";
const WRONG_PAIRS: &[&str] = &[
    "не найден",
    "не существует",
    "не зарегистрирован*",
    "не активен",
    "не подходит",
    "не подходят",
    "не совпада*",
    "не указан",
    "не принят",
    "не распознан*",
    "not found",
    "not valid",
    "is required",
    "not recognized",
];

const MONEY: &[&str] = &[
    "недостат* + средств|средства|денег|денежных|баланс|баланса|балансе",
    "нет средств|денег",
    "не хватает средств|денег",
    "средства|деньги|средств + законч*|кончил*|исчерпан*",
    "нулевой|отрицательный баланс",
    "баланс|баланса + исчерпан*|законч*|недостат*|отрицател*",
    "пополните",
    "insufficient funds|balance",
    "not enough money|funds|balance",
    "payment required",
];
/// Words of these trades that make other things of "средств".
const VEHICLES: [&str; 4] = ["перевозочн", "транспортн", "подвижн", "технич"];

/// Whoever is to mend something is not to come later.
const MEND: &[&str] = &["исправ*", "correct + and|the"];
const CHECK: &[&str] = &["проверьте", "уточните", "укажите", "измените", "введите", "check the|your"];

const LATER: &[&str] = &[
    "позже|позднее|попозже|later|temporarily|временно",
    "временная|временные|временный|временных|temporary + ошибк*|сбо*|неполадк*|проблем*|трудност*|недоступн*|error*|failure|problem*|outage",
    "слишком много запрос*|обращени*|попыт*|соединени*|подключени*|вызов*",
    "слишком часто|частые|частых",
    "too many requests|connections|attempts|calls|queries",
    "too frequent*|often",
    "rate limit*",
    "ratelimit*|throttl*|429",
    "request limit*|quota",
    "лимит* запросов|обращений|вызовов|подключений|соединений|попыток",
    "лимит* числа|количества|частоты запросов|обращений",
    "превышен* частот*|интенсивност*",
    "превышен* количество|число|лимит запросов|обращений|попыток|подключений|соединений",
    "сервис*|сервер*|служб*|систем*|сайт*|шлюз*|api|апи|база|базы|базе|service|server|system|database + недоступ*|перегруж*|занят|занята|остановлен*|unavailable|busy|overload*",
    "сервис*|сервер*|служб*|систем*|сайт*|шлюз*|api|апи|база + не отвеча*|работает",
    "перегружен*|перегрузк*|overloaded|busy",
    "высок*|больш*|повышенн* нагрузк*",
    "техническ* работ*|сбо*|неполадк*|проблем*|обслуживан*|перерыв*|причин*",
    "профилактическ*|регламентн*|плановые|плановых|ремонтн* работ*",
    "ведутся работы",
    "ведутся ? работы",
    "обслуживан* + сервер*|систем*|сервис*",
    "на обслуживании",
    "техобслуживан*|maintenance",
    "через минуту|час|сутки",
    "через ? секунд*|минут*|час|часа|часов",
    "in|after ? second*|minute*|hour*",
    "подождите|ожидайте",
    "please wait",
    "очеред* + переполнен*|занята|заполнен*",
    "queue + full",
    // No connection, so nothing was asked of the database yet.
    "connection + from the pool",
    "obtaining a connection",
    "соединени*|подключени* + пула",
];
/// Said of a mistake as well: "исправьте и повторите".
const AGAIN: &[&str] = &[
    "повторите|повторить попытку|запрос|операцию|вызов|снова|еще|через|заказ",
    "попробуйте еще|снова|повторить",
    "try again",
    "please retry|repeat",
];
const BROKEN: &[&str] = &[
    "timeout|таймаут*|deadlock*|взаимоблокировк*",
    "timed out",
    "time out",
    "тайм аут|аута",
    "время|времени ожидания",
    "истекло время",
];

/// What these words are about.
pub fn about(text: &str, lexicon: &Lexicon, pause_on: &[String]) -> About {
    let words = Words::of(text);
    let of_operator = lenient::mentions(text, pause_on);
    let is_wrong = words.have_any(WRONG_PAIRS) || words.have(WRONG);
    let has_key = words.have(KEY) && !words.have_any(OTHER_KEYS);
    if (has_key && is_wrong && words.have_together(KEY, WRONG, WRONG_PAIRS)) || words.have_any(lexicon.credentials) {
        return About::Credentials;
    }
    if words.have_any(lexicon.access) {
        return About::Access;
    }
    if words.have_any(MONEY) || words.have_any(lexicon.money) {
        return About::Money;
    }
    if of_operator {
        return if has_key { About::Credentials } else { About::Access };
    }
    let later = if words.have_any(MEND) {
        false
    } else {
        words.have_any(LATER) || (words.have_any(AGAIN) && !is_wrong && !words.have_any(CHECK))
    };
    if later {
        return About::Later;
    }
    if words.have_any(BROKEN) {
        return About::Broken;
    }
    let vague = [
        (lexicon.vague_credentials, About::Credentials),
        (lexicon.vague_access, About::Access),
        (lexicon.vague_money, About::Money),
    ];
    let of_another_key = words.have_any(OTHER_KEYS);
    let found = vague
        .into_iter()
        .find(|(phrases, about)| words.have_any(phrases) && !(of_another_key && *about == About::Credentials));
    found.map_or(About::Other, |(_, about)| about)
}

/// Whether a text finds fault with something that was sent, whatever else it says.
pub fn finds_fault(text: &str) -> bool {
    let words = Words::of(text);
    words.have(WRONG) || words.have_any(WRONG_PAIRS) || words.have_any(MEND) || words.have_any(CHECK)
}

/// A text in sentences of words: small letters, ё as е.
struct Words(Vec<Vec<String>>);

impl Words {
    fn of(text: &str) -> Self {
        let lower = text.to_lowercase().replace('ё', "е");
        let sentences = lower.split(['.', '!', '?', ';', '\n']).map(|sentence| {
            let mut words: Vec<String> = Vec::new();
            for word in sentence.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
                let of_vehicles = word.starts_with("средств")
                    && words.last().is_some_and(|last| VEHICLES.iter().any(|stem| last.starts_with(stem)));
                words.push(if of_vehicles { "машина".to_owned() } else { word.to_owned() });
            }
            words
        });
        Self(sentences.filter(|words| !words.is_empty()).collect())
    }

    fn have_any(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.have(phrase))
    }

    /// Whether a sentence has what a phrase describes: words that stand side by side, `+` between groups that may stand
    /// anywhere. `a|b` is either, `a*` a beginning, `?` any word.
    fn have(&self, phrase: &str) -> bool {
        self.0.iter().any(|sentence| phrase.split(" + ").all(|group| stands_in(sentence, group)))
    }

    /// A noun and what is said of it, in one sentence.
    fn have_together(&self, noun: &str, said: &str, pairs: &[&str]) -> bool {
        self.0.iter().any(|sentence| {
            stands_in(sentence, noun)
                && (stands_in(sentence, said) || pairs.iter().any(|pair| stands_in(sentence, pair)))
        })
    }
}

fn stands_in(sentence: &[String], group: &str) -> bool {
    let wanted: Vec<&str> = group.split_whitespace().collect();
    sentence.windows(wanted.len().max(1)).any(|words| words.iter().zip(&wanted).all(|(word, wanted)| is(word, wanted)))
}

fn is(word: &str, wanted: &str) -> bool {
    wanted.split('|').any(|wanted| match wanted.strip_suffix('*') {
        Some(stem) => word.starts_with(stem),
        None => wanted == "?" || word == wanted,
    })
}

#[cfg(test)]
#[path = "faults_tests.rs"]
mod tests;
