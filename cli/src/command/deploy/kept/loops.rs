//! Functions that write to the bucket whose changes call them.

use crate::manifest::{FunctionEntry, Holds, Manifest, On, TriggerEntry};

/// A sentence for each of them that no filter keeps from it. What it writes may be somewhere else: so it is told, and not refused.
pub(super) fn warnings(manifest: &Manifest) -> Vec<String> {
    let function = |it: &TriggerEntry| manifest.functions.iter().find(|one| one.id == it.function);
    manifest.triggers.iter().filter_map(|it| warning(it, function(it)?)).collect()
}

fn warning(trigger: &TriggerEntry, function: &FunctionEntry) -> Option<String> {
    let On::Bucket { name, changes } = &trigger.on else { return None };
    // Whoever gave it a filter has heard of that.
    if !(changes.prefix.is_empty() && changes.suffix.is_empty()) {
        return None;
    }
    let (keyvalue, blobs) = (function.spec.keyvalue(), function.spec.blobs());
    let grants = match changes.holds {
        Some(Holds::Values) => keyvalue.iter().chain(&[]),
        Some(Holds::Blobs) => blobs.iter().chain(&[]),
        None => keyvalue.iter().chain(blobs),
    };
    let writes = grants.into_iter().any(|it| it.bucket() == name.as_str() && it.may_write());
    writes.then(|| {
        format!(
            "{} may write to bucket {name}, whose changes call it: what it writes there calls it again, until the \
             platform ends that as a loop; grant it '{name}:read', or leave out what it writes by a filter",
            function.id
        )
    })
}
