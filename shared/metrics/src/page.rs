//! Prometheus's text format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::fmt::Write as _;

/// What a metric's values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by upper bound.
    Histogram,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Labels with their values; those with an empty value do not apply and are left out.
pub type Labels<'a> = [(&'a str, &'a str)];

/// A page under construction. All samples of a metric must follow its [`Page::metric`].
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// Begins a metric. `name` is without the prefix `ringvault_`.
    pub fn metric(&mut self, name: &str, kind: Kind, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(self.text, "# HELP ringvault_{name} {help}");
        let _ = writeln!(self.text, "# TYPE ringvault_{name} {}", kind.as_str());
    }

    /// Adds a sample.
    pub fn sample(&mut self, name: &str, labels: &Labels<'_>, value: f64) {
        let _ = write!(self.text, "ringvault_{name}");
        let mut before = '{';
        for (label, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
            let _ = write!(self.text, "{before}{label}=\"{}\"", escape(value));
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    /// Adds a histogram's samples: `within[i]` values were at most `bounds[i]`.
    pub fn histogram(
        &mut self,
        name: &str,
        labels: &Labels<'_>,
        bounds: &[f64],
        within: &[f64],
        (count, sum): (f64, f64),
    ) {
        let bucket = format!("{name}_bucket");
        for (bound, value) in bounds.iter().zip(within) {
            let bound = bound.to_string();
            self.sample(&bucket, &[labels, &[("le", bound.as_str())]].concat(), *value);
        }
        self.sample(&bucket, &[labels, &[("le", "+Inf")]].concat(), count);
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, count);
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_written_as_the_format_has_it() {
        let mut page = Page::default();
        page.metric("jobs", Kind::Gauge, "Jobs\nby \\ state.");
        page.sample("jobs", &[("cluster", "a\"b\\c\nd"), ("policy", "")], 3.0);
        page.sample("jobs", &[("policy", "")], 0.5);
        page.metric("took_seconds", Kind::Histogram, "Seconds.");
        page.histogram("took_seconds", &[("cluster", "c")], &[1.0, 2.5], &[1.0, 2.0], (3.0, 9.5));
        assert_eq!(
            page.finish(),
            "# HELP ringvault_jobs Jobs\\nby \\\\ state.\n\
             # TYPE ringvault_jobs gauge\n\
             ringvault_jobs{cluster=\"a\\\"b\\\\c\\nd\"} 3\n\
             ringvault_jobs 0.5\n\
             # HELP ringvault_took_seconds Seconds.\n\
             # TYPE ringvault_took_seconds histogram\n\
             ringvault_took_seconds_bucket{cluster=\"c\",le=\"1\"} 1\n\
             ringvault_took_seconds_bucket{cluster=\"c\",le=\"2.5\"} 2\n\
             ringvault_took_seconds_bucket{cluster=\"c\",le=\"+Inf\"} 3\n\
             ringvault_took_seconds_sum{cluster=\"c\"} 9.5\n\
             ringvault_took_seconds_count{cluster=\"c\"} 3\n"
        );
    }
}
