//! One OpenMetrics exposition out of three: the supervisor's own numbers and those of its children.

use std::collections::HashMap;
use std::fmt::Write as _;

use http::HeaderValue;

use super::inspect::Report;
use crate::ground::{State, View};

/// Of OpenMetrics 1.0.
pub(crate) const CONTENT_TYPE: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Everything, ending with the line that says so.
pub(crate) fn exposition(view: &View, reports: &[Report]) -> String {
    let mut families = Families::default();
    families.add(&own(view, reports));
    for reply in reports.iter().filter_map(|report| report.reply.as_ref()) {
        families.add(&reply.metrics);
    }
    families.write()
}

fn own(view: &View, reports: &[Report]) -> String {
    let mut text = format!(
        "# HELP coracle_build Which program runs.\n# TYPE coracle_build info\ncoracle_build_info{{version=\"{}\"}} 1\n",
        env!("CARGO_PKG_VERSION")
    );
    text.push_str(
        "# HELP coracle_child_up Whether a child process answers.\n# TYPE coracle_child_up gauge\n",
    );
    for report in reports {
        let up = u8::from(report.reply.is_some());
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "coracle_child_up{{child=\"{}\"}} {up}", report.kind.name());
    }
    text.push_str("# HELP coracle_child_restarts Unasked ends of a child process.\n# TYPE coracle_child_restarts counter\n");
    for child in &view.children {
        let _ = writeln!(
            text,
            "coracle_child_restarts_total{{child=\"{}\"}} {}",
            child.name.name(),
            child.restarts
        );
    }
    text.push_str("# HELP coracle_child_given_up Whether a child process is not started again.\n# TYPE coracle_child_given_up gauge\n");
    for child in &view.children {
        let given_up = u8::from(child.state == State::GivenUp);
        let _ = writeln!(text, "coracle_child_given_up{{child=\"{}\"}} {given_up}", child.name.name());
    }
    text
}

/// The families in the order in which they first came. OpenMetrics wants each described once and its samples
/// together, and two processes may have the same one.
#[derive(Debug, Default)]
struct Families {
    places: HashMap<String, usize>,
    families: Vec<Family>,
}

#[derive(Debug, Default)]
struct Family {
    descriptors: Vec<String>,
    samples: Vec<String>,
}

impl Families {
    /// Adds one process's exposition: descriptors of a family stand before its samples.
    fn add(&mut self, text: &str) {
        let mut current = None;
        for line in text.lines().filter(|line| !line.is_empty() && *line != "# EOF") {
            if let Some(name) = described(line) {
                let place = *self.places.entry(name.to_owned()).or_insert_with(|| {
                    self.families.push(Family::default());
                    self.families.len() - 1
                });
                current = Some(place);
                let Some(family) = self.families.get_mut(place) else { continue };
                let known = family.descriptors.iter().any(|descriptor| keyword(descriptor) == keyword(line));
                if !known {
                    family.descriptors.push(line.to_owned());
                }
            } else if let Some(family) = current.and_then(|place| self.families.get_mut(place)) {
                family.samples.push(line.to_owned());
            }
        }
    }

    fn write(&self) -> String {
        let mut text = String::new();
        for line in self.families.iter().flat_map(|family| family.descriptors.iter().chain(&family.samples)) {
            text.push_str(line);
            text.push('\n');
        }
        text.push_str("# EOF\n");
        text
    }
}

/// The family that a `# TYPE`, `# HELP` or `# UNIT` line describes.
fn described(line: &str) -> Option<&str> {
    line.strip_prefix("# ")?.split(' ').nth(1)
}

fn keyword(line: &str) -> Option<&str> {
    line.split(' ').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_of_two_processes_are_merged() {
        let mut families = Families::default();
        families.add(
            "# HELP calls Calls.\n# TYPE calls counter\ncalls_total{p=\"a\"} 1\n# TYPE only gauge\nonly 3\n",
        );
        families.add("# HELP calls Calls.\n# TYPE calls counter\ncalls_total{p=\"b\"} 2\n# EOF\n");
        assert_eq!(
            families.write(),
            "# HELP calls Calls.\n# TYPE calls counter\ncalls_total{p=\"a\"} 1\ncalls_total{p=\"b\"} 2\n# TYPE only gauge\nonly 3\n# EOF\n"
        );
    }

    #[test]
    fn it_ends_once() {
        let text = exposition(&View::default(), &[]);
        assert_eq!(text.matches("# EOF").count(), 1);
        assert!(text.ends_with("# EOF\n"));
    }
}
