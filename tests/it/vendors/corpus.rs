//! Whole answers that say nothing a vendor ever said, and answers that only their own vendor gives.

use opros::domain::exchange::Answer;

use super::play::answer;

/// HTTP statuses that reach a driver: the engine itself classes 429 and redirects.
pub const STATUSES: [u16; 14] = [200, 201, 202, 204, 400, 401, 402, 403, 404, 409, 422, 500, 502, 503];

/// Bodies from here on are read under two statuses only: what is heavy is the parsing, which knows no status.
const HEAVY: usize = 4096;

/// Every body of nobody under every status.
pub fn hostile_answers() -> Vec<Answer> {
    let statuses = |body: &[u8]| if body.len() < HEAVY { &STATUSES[..] } else { &[200, 500][..] };
    let under_all =
        |body: Vec<u8>| statuses(&body).iter().map(|status| answer(*status, body.clone())).collect::<Vec<_>>();
    hostile().into_iter().flat_map(under_all).collect()
}

/// Answers of nobody.
pub fn hostile() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = TEXTS.iter().map(|text| text.as_bytes().to_vec()).collect();
    all.extend([
        b"\xef\xbb\xbf".to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
        b"\xff\xfe{\x00}\x00".to_vec(),
        b"\x00\x00\x00\x00".to_vec(),
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00".to_vec(),
        b"%PDF-1.4\n%\xe2\xe3\xcf\xd3".to_vec(),
        b"\x89PNG\r\n\x1a\n".to_vec(),
        b"\xd0\x9e\xd1\x88\xd0\xb8\xd0\xb1\xd0\xba\xd0".to_vec(),
        "[".repeat(100_000).into_bytes(),
        format!("{}{}", "[".repeat(100), "]".repeat(100)).into_bytes(),
        format!("{}{}", "[".repeat(5_000), "]".repeat(5_000)).into_bytes(),
        format!("{}1{}", r#"{"a":"#.repeat(100), "}".repeat(100)).into_bytes(),
        format!("{}1{}", r#"{"a":"#.repeat(5_000), "}".repeat(5_000)).into_bytes(),
        format!("{{\"a\":\"{}\"}}", "x".repeat(1_000_000)).into_bytes(),
        format!("[{}0]", "0,".repeat(100_000)).into_bytes(),
        " ".repeat(10_000).into_bytes(),
        "9".repeat(10_000).into_bytes(),
    ]);
    all
}

const TEXTS: &[&str] = &[
    // Nothing, or hardly anything.
    "",
    " ",
    "\r\n\r\n",
    "\u{feff}",
    "null",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "123",
    "1e308",
    "1e999",
    "123456789012345678901234567890",
    "\"\"",
    "\"ok\"",
    "\"123\"",
    "ok",
    "OK 123",
    "undefined",
    "NaN",
    "[]",
    "[[]]",
    "[null]",
    "[{}]",
    "[1,2,3]",
    "[\"ok\"]",
    "{}",
    "{\"\":\"\"}",
    "{\" \":null}",
    // Pages.
    "<html><body>502 Bad Gateway</body></html>",
    "<!DOCTYPE html><html><head><title>Вход</title></head></html>",
    "<?xml version=\"1.0\"?><error>1</error>",
    "\u{feff}<html></html>",
    "<script>location='/login'</script>",
    "<html><head><title>301 Moved Permanently</title></head><body>moved <a href=\"https://other/\">here</a></body></html>",
    "Server Error in '/' Application. Runtime Error",
    "Service Unavailable",
    "Warning: mysqli_connect(): Too many connections in /var/www/api.php on line 12",
    "Доступ закрыт администратором сети",
    // Gateways' own JSON.
    "{\"message\":\"Internal Server Error\"}",
    "{\"message\":\"Forbidden\"}",
    "{\"detail\":\"Not Found\"}",
    "{\"type\":\"about:blank\",\"title\":\"Bad Gateway\",\"instance\":\"/x\"}",
    "{\"fault\":{\"faultstring\":\"Policy\",\"detail\":{\"errorcode\":\"x\"}}}",
    "{\"Message\":\"An error has occurred.\",\"ExceptionType\":\"System.NullReferenceException\"}",
    // Cut, doubled, nearly.
    "{",
    "{\"",
    "{\"id\"",
    "{\"id\":",
    "{\"id\":123",
    "{id:123}",
    "{}{}",
    "{} trailing",
    "\"{\"",
    "\"{}\"",
    "\"[]\"",
    "\"\\\"{}\\\"\"",
    "callback({});",
    "data: {}\n\n",
    "{}\n{}\n",
    "id=123&status=ok",
    // The right names with values that are none.
    "{\"id\":null,\"error\":null}",
    "{\"id\":{},\"error\":null}",
    "{\"id\":[],\"error\":null}",
    "{\"id\":true,\"error\":null}",
    "{\"id\":\"\",\"error\":null}",
    "{\"id\":\"none\",\"error\":null}",
    "{\"id\":0,\"error\":null}",
    "{\"id\":-9223372036854775808,\"error\":null}",
    "{\"id\":1e300,\"error\":null}",
    "{\"id\":123456789012345678901234567890,\"error\":null}",
    "{\"Task\":null}",
    "{\"Task\":[]}",
    "{\"Task\":{}}",
    "{\"Task\":{\"ID\":null}}",
    "{\"Task\":\"77\"}",
    "[{\"status\":null}]",
    "[{\"status\":1}]",
    "[[{\"status\":\"ok\"}]]",
    "[{\"status\":\"\"}]",
    "{\"status\":null}",
    "{\"status\":{}}",
    "{\"status\":\"maybe\"}",
    "{\"hash\":null}",
    "{\"resultState\":null}",
    "{\"resultState\":\"\"}",
    "{\"resultState\":{}}",
    "{\"resultState\":99}",
    "{\"resultData\":null}",
    "{\"resultState\":null,\"resultData\":[]}",
];

/// What a vendor itself says when all or a part is well, by its page: proof at that vendor, noise at every other.
pub const WELL_MEANT: &[(&str, &str)] = &[
    ("tronk", r#"{"start":"2024-05-20T12:00:00","error":null,"status":0,"id":123,"startgeneration":null,"msg":0}"#),
    ("tronk", r#"{"error":null,"status":1,"id":123,"resultJson":"{\"a\":1}","msg":"x"}"#),
    ("tronk", r#"{"error":null,"status":1,"id":123,"url":"https://data.tronk.info/x"}"#),
    ("tronk", r#"{"Error":false,"ErrorMsg":null,"Msg":null,"Task":{"ID":1,"Status":0,"StatusServices":[]}}"#),
    ("tronk", r#"{"Error":false,"Msg":null,"Task":{"ID":1,"Status":1},"Result":{"data":{"Vin":"X"}}}"#),
    ("alta", r#"{"status":"ok"}"#),
    ("alta", r#"[{"status":"ok","descr":"Запрос принят","hash":"ebc356dfa5beee7d3844ccacf535410c"}]"#),
    ("alta", r#"[{"status":"ok","descr":"x","balans":"0.00","bonus":0,"sa":"sa000000"}]"#),
    ("alta", r#"[{"status":"ok"},{"group_id":1519743,"carrs":["AMFU8899067"]}]"#),
    ("alta", r#"[{"status":"ok","query_status":"4","count":1},{"num":"AMFU8899067","on_track":0,"station":"24160"}]"#),
    ("rlab", r#"{"resultState":0,"resultInfo":"Данные добавлены в базу","resultData":null}"#),
    (
        "rlab",
        r#"{"resultState":0,"resultInfo":"","resultData":[{"trackNumber":"1","trackMainStatus":0,"trackInfo":""}]}"#,
    ),
    ("rlab", r#"{"resultState":1," resultInfo ":"Часть данных добавлены в базу, ошибок 2","resultData":null}"#),
    ("rlab", r#"{"resultState":0,"resultInfo":"","resultData":{"userBalance":384,"userExpireDate":"13.04.2015"}}"#),
];

/// What a vendor says when it refuses.
pub const REFUSALS: &[(&str, &str)] = &[
    ("tronk", r#"{"start":"x","end":"x","phone":"79990000111","error":true,"error_msg":"Нет данных"}"#),
    ("tronk", r#"{"error":true,"error_msg":"Закончился доступ или запросы"}"#),
    ("alta", r#"{"status":"error"}"#),
    ("alta", r#"[{"status":"error","code":15,"descr":"Неподдерживаемый метод"}]"#),
    ("alta", r#"[{"status":"fail","descr":"Недостаточно средств"}]"#),
    ("rlab", r#"{"resultState":2," resultInfo ":"Некорректный ключ запроса в trackingRequestKey","resultData":null}"#),
    ("rlab", r#"{"resultState":1," resultInfo ":"Часть данных добавлены в базу, ошибок 2","resultData":null}"#),
    ("rlab", r#"{"resultState":2,"resultInfo":"Некорректный трек номер","resultData":null}"#),
    ("vagvin", r#"{"error":"text"}"#),
];
