//! The planner's alarm: one sentence, however many versions have no place, for it goes to every controller again
//! and again.

use crate::placer::Unplaceable;

/// Versions named; the alarm has the number of all.
const VERSIONS_NAMED: usize = 5;
/// Nodes named for each of them, with why they cannot hold it.
const REASONS_NAMED: usize = 3;

/// Says of so many versions that no node can hold them; `some` are the first of them.
pub(crate) fn unplaceable(some: &[Unplaceable], all: usize) -> Option<String> {
    if all == 0 {
        return None;
    }
    let mut text = match all {
        1 => "unplaceable: 1 version has no node that can hold it".to_owned(),
        _ => format!("unplaceable: {all} versions have no node that can hold them"),
    };
    for (place, nowhere) in some.iter().take(VERSIONS_NAMED).enumerate() {
        text.push_str(if place == 0 { ": " } else { "; " });
        text.push_str(&nowhere.version.to_string());
        let reasons = nowhere.ruled_out.iter().take(REASONS_NAMED);
        let reasons: Vec<_> = reasons.map(|(node, reason)| format!("node {node} {reason}")).collect();
        let more = nowhere.ruled_out.len().saturating_sub(REASONS_NAMED);
        let more = if more == 0 { String::new() } else { format!(", and {more} nodes more") };
        text.push_str(&format!(" ({}{more})", reasons.join(", ")));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use coracle_proto::id::NodeId;

    use super::*;
    use crate::model::samples::version;
    use crate::placer::Reason;

    fn nowhere(name: &str, nodes: u64) -> Unplaceable {
        let ruled_out = (1..=nodes).map(|node| (NodeId::new(node), Reason::Dead)).collect();
        Unplaceable { version: version(name, 1), ruled_out }
    }

    #[test]
    fn it_names_the_first_and_counts_all() {
        assert_eq!(unplaceable(&[], 0), None);
        assert_eq!(
            unplaceable(&[nowhere("a", 1)], 1).unwrap(),
            "unplaceable: 1 version has no node that can hold it: a@1 (node 1 is dead)"
        );
        let many: Vec<_> = (0..100).map(|number| nowhere(&format!("f{number}"), 10_000)).collect();
        let text = unplaceable(&many, 100_000).unwrap();
        assert!(
            text.starts_with("unplaceable: 100000 versions have no node that can hold them: f0@1 (node 1")
        );
        assert!(text.ends_with("node 3 is dead, and 9997 nodes more)") && text.len() < 1000, "{text}");
    }
}
