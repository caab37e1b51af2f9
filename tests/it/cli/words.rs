//! Times, tables, foreign text, frames: what is printed and read, without a daemon.

use std::time::Duration;

use clap::builder::styling::Style;
use opros::cli::sse::{Frame, Parser};
use opros::cli::table::Table;
use opros::cli::when::{self, Moment};
use opros::cli::{output, text};
use opros::domain::Timestamp;
use proptest::prelude::*;
use serde_json::Value;

#[test]
fn spans_are_told_in_at_most_two_units() {
    let table = [
        (400, "0 s"),
        (12_000, "12 s"),
        (59_600, "1 min"),
        (90_000, "1 min 30 s"),
        (15 * 60_000 + 5000, "15 min"),
        (7_500_000, "2 h 5 min"),
        (7_200_000, "2 h"),
        (99 * 3_600_000, "4 d 3 h"),
    ];
    for (millis, words) in table {
        assert_eq!(when::span(Duration::from_millis(millis)), words);
    }
}

#[test]
fn times_are_utc_with_the_way_to_them() {
    let now = Timestamp::parse_rfc3339("2026-11-22T03:00:00Z").expect("a time");
    let at = |text| Timestamp::parse_rfc3339(text).expect("a time");
    assert_eq!(when::both(at("2026-11-22T06:00:12.345+03:00"), now), "2026-11-22T03:00:12Z (in 12 s)");
    assert_eq!(when::relative(at("2026-11-22T02:57:00Z"), now), "3 min ago");
    assert_eq!(when::relative(now, now), "now");
    assert_eq!(when::short(at("2026-11-22T02:57:00Z"), now), "02:57:00Z");
    assert_eq!(when::short(at("2026-11-21T23:57:00Z"), now), "2026-11-21T23:57:00Z");
    assert_eq!(Moment::parse("+1h30m").expect("a span").resolve(now), at("2026-11-22T04:30:00Z"));
    assert!(Moment::parse("tomorrow").is_err());
}

#[test]
fn a_table_fits_the_terminal_and_is_whole_without_one() {
    let mut table = Table::new(&["ID", "STATE", "WHY"], 1);
    table.row(output::BAD, vec!["1".to_owned(), "failed".to_owned(), "a long reason\nwith a break, ".repeat(9)]);
    table.row(
        Style::new(),
        vec!["2".to_owned(), "queued".to_owned(), "ключ неверен, доступ закрыт, денег нет".to_owned()],
    );
    for width in [30, 40, 80] {
        for line in table.lines(Some(width)) {
            let plain = anstream::adapter::strip_str(&line).to_string();
            assert!(plain.chars().count() <= usize::from(width), "{width}: {plain}");
        }
    }
    let narrow = table.lines(Some(30));
    assert!(narrow[1].contains("failed") && narrow[1].ends_with('…'), "{:?}", narrow[1]);
    let whole = table.lines(None);
    assert_eq!(whole.len(), 3);
    assert!(whole[1].ends_with("with a break,") && whole[1].contains("\u{1b}[31mfailed\u{1b}[0m"), "{:?}", whole[1]);
}

#[test]
fn a_narrow_table_drops_what_can_be_done_without() {
    let mut table = Table::new(&["ID", "STATE", "TAG", "WHY"], 1).dispensable(&["TAG"]);
    let cells = ["1", "failed", "a tag of twenty chars", "the vendor says that there is no money left"];
    table.row(output::BAD, cells.map(str::to_owned).to_vec());
    let plain = |width| table.lines(Some(width)).join("\n");
    assert!(plain(90).contains("TAG") && plain(90).contains("money left"));
    assert!(!plain(60).contains("TAG") && plain(60).contains("money left"), "{}", plain(60));
    assert!(plain(60).contains("\u{1b}[31mfailed"));
}

#[test]
fn frames_are_cut_as_the_standard_says() {
    let mut parser = Parser::default();
    let frames =
        parser.push(b": life\n\nid: 5\r\nevent: gap\r\ndata: a\rdata:b\n\nid: 6\n\ndata: open").expect("short");
    let whole = Frame { id: Some("5".into()), event: Some("gap".into()), data: Some("a\nb".into()) };
    assert_eq!(frames, [whole, Frame { id: Some("6".into()), ..Frame::default() }]);
}

proptest! {
    #[test]
    fn frames_do_not_depend_on_how_the_bytes_arrive(
        text in "(id: [0-9]{1,3}(\r\n|\n|\r)|data: [а-яa-z]{0,5}(\r\n|\n|\r)|(\r\n|\n|\r)){0,20}", cuts in proptest::collection::vec(0..200_usize, 0..9)
    ) {
        let whole = Parser::default().push(text.as_bytes()).expect("short");
        let mut parser = Parser::default();
        let mut pieces = Vec::new();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.sort_unstable();
        let mut start = 0;
        for cut in cuts.into_iter().chain([text.len()]) {
            pieces.extend(parser.push(&text.as_bytes()[start..cut]).expect("short"));
            start = cut;
        }
        prop_assert_eq!(whole, pieces);
    }

    #[test]
    fn json_for_a_terminal_means_the_same_and_holds_nothing_dangerous(word in any::<String>(), other in "\\PC*[\u{7f}-\u{9f}\u{202a}-\u{202e}\u{e0041}]{0,3}") {
        let value = serde_json::json!({ word.clone(): [other, word] });
        let pretty = serde_json::to_string_pretty(&value).expect("JSON");
        let line = text::json(&pretty);
        prop_assert_eq!(serde_json::from_str::<Value>(&line).expect("still JSON"), value);
        let dangerous = line.chars().find(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(c));
        prop_assert_eq!(dangerous, None);
    }

    #[test]
    fn a_line_of_foreign_text_is_one_line_without_commands(word in any::<String>()) {
        let line = text::line(&word);
        prop_assert!(!line.chars().any(char::is_control));
        prop_assert!(!text::block(&word).chars().any(|c| c.is_control() && c != '\n'));
    }
}
