use super::*;

const NONE: Lexicon =
    Lexicon { credentials: &[], access: &[], money: &[], vague_credentials: &[], vague_access: &[], vague_money: &[] };

fn all(table: &[(&str, About)]) {
    let wrong: Vec<String> = table
        .iter()
        .map(|(text, about)| (text, about, super::about(text, &NONE, &[])))
        .filter(|(_, must, means)| *must != means)
        .map(|(text, must, means)| format!("{text}: {means:?}, not {must:?}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_a_key_is_a_key() {
    use About::{Credentials, Other};
    all(&[
        ("Неверный ключ доступа", Credentials),
        ("НЕВЕРНЫЙ КЛЮЧ", Credentials),
        ("Некорректный ключ запроса в trackingRequestKey", Credentials),
        ("Ключ не найден", Credentials),
        ("Указанный ключ недействителен", Credentials),
        ("Передан недопустимый ключ.", Credentials),
        ("Срок действия ключа истёк", Credentials),
        ("Ключ API отозван", Credentials),
        ("Пользователь с таким ключом не зарегистрирован", Credentials),
        ("Ключ не указан", Credentials),
        ("Отсутствует ключ доступа", Credentials),
        ("Неверный токен", Credentials),
        ("Invalid key", Credentials),
        ("wrong api_key", Credentials),
        ("The API key is not valid", Credentials),
        ("Invalid token", Credentials),
        ("Заключение не найдено", Other),
        ("Нет подключения: номер некорректен", Other),
        ("Исключение: неверный формат", Other),
        ("Внутреннее исключение", Other),
        ("Услуга не включёна, номер неверный", Other),
        ("Ключевой реквизит не найден", Other),
        ("Неверное ключевое слово", Other),
        ("Ничего не найдено по этому ключу поиска", Other),
        ("По номеру ничего не найдено", Other),
        ("Данный ключ отсутствует в словаре.", Other),
        ("The given key was not present in the dictionary.", Other),
        ("Violation of PRIMARY KEY constraint: invalid row", Other),
        ("Неверный ключ зажигания", Other),
        ("invalid keyword", Other),
        ("Donkey not found", Other),
        ("Ключ принят. Номер неверный", Other),
        ("Отключение невозможно: некорректный номер", Other),
        ("Выключатель не найден", Other),
    ]);
}

#[test]
fn come_later_is_understood_however_it_is_said() {
    use About::{Broken, Later};
    all(&[
        ("Слишком много запросов", Later),
        ("Слишком много запросов, повторите позже", Later),
        ("Сервис временно недоступен", Later),
        ("Временно недоступен", Later),
        ("Превышен лимит запросов", Later),
        ("лимит запросов", Later),
        ("Превышен лимит запросов в минуту", Later),
        ("Превышено количество запросов", Later),
        ("Превышена частота обращений", Later),
        ("Повторите позже", Later),
        ("Попробуйте позднее.", Later),
        ("Повторите попытку", Later),
        ("Повторите запрос через 5 минут", Later),
        ("Попробуйте ещё раз", Later),
        ("Сервер перегружен", Later),
        ("Сервер не отвечает", Later),
        ("База данных недоступна", Later),
        ("Ведутся технические работы", Later),
        ("На сервере ведутся профилактические работы", Later),
        ("Технический сбой", Later),
        ("По техническим причинам сервис не работает", Later),
        ("Система на обслуживании", Later),
        ("Слишком частые обращения", Later),
        ("Очередь переполнена", Later),
        ("Подождите", Later),
        ("Возникли временные неполадки", Later),
        ("Неверный ответ сервера, попробуйте позже", Later),
        ("Доступ временно ограничен", Later),
        ("Too many requests", Later),
        ("Rate limit exceeded", Later),
        ("Service temporarily unavailable", Later),
        ("Service Unavailable", Later),
        ("The server is busy", Later),
        ("Please try again later", Later),
        ("Try again", Later),
        ("Scheduled maintenance", Later),
        ("Retry after 30 seconds", Later),
        ("Too many connections", Later),
        (
            "Timeout expired. The timeout period elapsed prior to obtaining a connection from the pool. This may have occurred because all pooled connections were in use",
            Later,
        ),
        ("Превышено время ожидания", Broken),
        ("Время ожидания операции истекло", Broken),
        ("Тайм-аут", Broken),
        ("Execution Timeout Expired. The timeout period elapsed prior to completion of the operation", Broken),
        ("The operation has timed out", Broken),
        ("Transaction was deadlocked on lock resources", Broken),
        ("Время ожидания истекло, повторите позже", Later),
    ]);
}

#[test]
fn a_mistake_is_not_to_be_sent_again() {
    use About::Other;
    all(&[
        ("Некорректный трек-номер, исправьте и повторите", Other),
        ("Некорректный трек-номер, исправьте и повторите попытку позже", Other),
        ("Неверный трек-номер, повторите запрос", Other),
        ("Проверьте правильность номера и повторите попытку", Other),
        ("Номер не найден, попробуйте ещё раз", Other),
        ("Исправьте ошибки и повторите отправку", Other),
        ("Указан неверный номер перевозочного средства", Other),
        ("Превышено количество транспортных средств", Other),
        ("Превышен лимит номеров в запросе", Other),
        ("Не найден балансодержатель вагона", Other),
        ("Отчёт недоступен для этого номера", Other),
        ("Данные по автомобилю недоступны", Other),
        ("Марка не поддерживается", Other),
        ("Временной интервал указан неверно", Other),
        ("Позиция не найдена", Other),
        ("Некорректный номер", Other),
        ("Invalid VIN", Other),
        ("correct the number and try again", Other),
        ("Недостаточно данных о транспортном средстве", Other),
        ("Нет данных", Other),
        ("Не определено средство доставки", Other),
        ("Повторный заказ", Other),
        ("", Other),
    ]);
}

#[test]
fn money_is_told_from_wagons() {
    use About::Money;
    all(&[
        ("Недостаточно средств", Money),
        ("Недостаточно средств на балансе, повторите позже", Money),
        ("На счету недостаточно денежных средств", Money),
        ("Нет средств", Money),
        ("Не хватает денег", Money),
        ("Средства закончились", Money),
        ("Нулевой баланс", Money),
        ("Закончился баланс треков", Money),
        ("Пополните счёт", Money),
        ("Insufficient funds", Money),
    ]);
}

#[test]
fn the_operators_words_stand_above_what_is_guessed() {
    let pause_on = ["сервис временно недоступен".to_owned()];
    assert_eq!(about("Сервис временно НЕДОСТУПЕН для вас", &NONE, &pause_on), About::Access);
    assert_eq!(about("Сервис недоступен", &NONE, &pause_on), About::Later);
}
