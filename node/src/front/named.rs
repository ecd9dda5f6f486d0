//! What a path names of the things that stores keep.

use coracle_proto::id::{FunctionName, NAME_LENGTH_MAX, Namespace};
use coracle_proto::status::Code;

use crate::call::CallError;

/// Of `NAME` or `NAMESPACE/NAME`; none where it is neither. What no such thing can be called is refused with the code of one that is not there.
pub(super) fn named(
    text: &str,
    thing: &str,
    missing: Code,
) -> Option<Result<(Namespace, String), CallError>> {
    let (namespace, name) = text.split_once('/').unwrap_or((Namespace::DEFAULT, text));
    if namespace.is_empty() || name.is_empty() || name.contains('/') {
        return None;
    }
    let known = namespace.parse().ok().zip(name.parse::<FunctionName>().ok());
    let known = known.map(|(namespace, name)| (namespace, name.to_string()));
    Some(known.ok_or_else(|| {
        let said = format!(
            "'{namespace}/{name}': no {thing} can have that name: namespace and name have 1 to {NAME_LENGTH_MAX} \
             lower-case letters, digits and '-', and begin with a letter"
        );
        CallError::new(missing, said)
    }))
}
