//! OpenMetrics as the text format that came before it (0.0.4), which promtool and older scrapers read.

/// What differs: a counter is described under the name of its series, an info is a gauge, units and the end have no line.
pub fn from_open_metrics(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    // The description comes before the type that says what it describes.
    let mut help: Option<(&str, &str)> = None;
    for line in page.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        if let Some((name, words)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help = Some((name, words));
            continue;
        }
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            if let Some((_, words)) = help.take().filter(|(described, _)| *described == name) {
                text.push_str(&format!("# HELP {name}{suffix} {words}\n"));
            }
            text.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
            continue;
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::from_open_metrics;

    #[test]
    fn counters_and_infos_are_described_under_the_names_of_their_series() {
        let page = "# HELP a A thing.\n# TYPE a counter\na_total{x=\"y # z\"} 1\n# HELP b B.\n# TYPE b info\nb_info{v=\"1\"} 1\n\
            # HELP c_seconds C.\n# TYPE c_seconds gauge\n# UNIT c_seconds seconds\nc_seconds 0.5\n# EOF\n";
        let text = "# HELP a_total A thing.\n# TYPE a_total counter\na_total{x=\"y # z\"} 1\n# HELP b_info B.\n# TYPE b_info gauge\n\
            b_info{v=\"1\"} 1\n# HELP c_seconds C.\n# TYPE c_seconds gauge\nc_seconds 0.5\n";
        assert_eq!(from_open_metrics(page), text);
    }
}
