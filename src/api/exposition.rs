//! The two forms in which Prometheus and its like take figures, and which of them a scrape asks
//! for.

use http::HeaderMap;
use std::collections::BTreeSet;
use std::fmt::Write;

/// A form of the figures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exposition {
    /// Prometheus' text format 0.0.4, which everything reads.
    Plain,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Exposition {
    /// What the `Accept` of a scrape likes better; the plain one where it does not say.
    pub(crate) fn asked(headers: &HeaderMap) -> Self {
        let (mut plain, mut open) = (0.0, 0.0);
        for accept in headers.get_all(http::header::ACCEPT) {
            let accept = String::from_utf8_lossy(accept.as_bytes()).to_ascii_lowercase();
            for part in accept.split(',') {
                let mut words = part.split(';').map(str::trim);
                let kind = words.next().unwrap_or_default();
                let quality = words
                    .find_map(|word| word.strip_prefix("q=")?.parse::<f32>().ok())
                    .unwrap_or(1.0);
                match kind {
                    "application/openmetrics-text" => open = quality.max(open),
                    "text/plain" | "text/*" => plain = quality.max(plain),
                    _ => {}
                }
            }
        }
        match open > plain {
            true => Self::OpenMetrics,
            false => Self::Plain,
        }
    }

    /// The media type of the answer.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// OpenMetrics text in this form.
    pub(crate) fn of(self, open: String) -> String {
        match self {
            Self::Plain => plain(&open),
            Self::OpenMetrics => open,
        }
    }
}

/// There counters carry `_total` in their head lines, too, and there are neither units nor an end
/// mark.
fn plain(open: &str) -> String {
    let head = |line: &str| -> Option<(String, String, String)> {
        let mut words = line.strip_prefix("# ")?.splitn(3, ' ');
        Some((
            words.next()?.to_owned(),
            words.next()?.to_owned(),
            words.next().unwrap_or_default().to_owned(),
        ))
    };
    let counters: BTreeSet<String> = open
        .lines()
        .filter_map(head)
        .filter(|(word, _, kind)| word == "TYPE" && kind == "counter")
        .map(|(_, name, _)| name)
        .collect();
    let mut text = String::with_capacity(open.len());
    for line in open.lines() {
        let written = match head(line) {
            None if line == "# EOF" => Ok(()),
            None => writeln!(text, "{line}"),
            Some((word, ..)) if word == "UNIT" => Ok(()),
            Some((word, name, rest)) if counters.contains(&name) => {
                writeln!(text, "# {word} {name}_total {rest}")
            }
            Some((word, name, rest)) => writeln!(text, "# {word} {name} {rest}"),
        };
        written.expect("memory takes all that is written");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(accept: &str) -> Exposition {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::ACCEPT, accept.parse().unwrap());
        Exposition::asked(&headers)
    }

    #[test]
    fn the_form_that_is_liked_better_is_taken() {
        for (accept, form) in [
            ("*/*", Exposition::Plain),
            ("text/plain", Exposition::Plain),
            ("application/openmetrics-text", Exposition::OpenMetrics),
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
                Exposition::OpenMetrics,
            ),
            (
                "text/plain;version=0.0.4, application/openmetrics-text; q=0.2",
                Exposition::Plain,
            ),
        ] {
            assert_eq!(asked(accept), form, "{accept}");
        }
        assert_eq!(Exposition::asked(&HeaderMap::new()), Exposition::Plain);
    }

    #[test]
    fn open_metrics_become_plain_ones() {
        let open = "# HELP a A thing.\n# TYPE a counter\na_total{x=\"# y\"} 1\n# HELP b_seconds B.\n\
                    # TYPE b_seconds gauge\n# UNIT b_seconds seconds\nb_seconds 2\n# EOF\n";
        assert_eq!(
            Exposition::Plain.of(open.to_owned()),
            "# HELP a_total A thing.\n# TYPE a_total counter\na_total{x=\"# y\"} 1\n# HELP b_seconds B.\n\
             # TYPE b_seconds gauge\nb_seconds 2\n"
        );
        assert_eq!(Exposition::OpenMetrics.of(open.to_owned()), open);
    }
}
