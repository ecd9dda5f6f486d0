//! Places, kinds and reasons to and from their wire form.

use bytes::Bytes;
use coracle_proto::codec::{DecodeError, InField as _};
use coracle_proto::id::InvocationId;
use coracle_proto::pb::store as pb;

use super::super::keys::Due;
use super::super::{Access, Cause, Deletion, Fence, Form, How, Missed, Name, Overlap, Place, Reason};

/// Two enums of the same names, one of which has a number for nothing.
macro_rules! same_names {
    ($to:ident, $from:ident, $own:ty, $wire:ty, $field:literal, [$($name:ident),+ $(,)?]) => {
        pub(super) fn $to(own: $own) -> $wire {
            match own { $(<$own>::$name => <$wire>::$name,)+ }
        }

        pub(super) fn $from(wire: $wire) -> Result<$own, DecodeError> {
            match wire {
                <$wire>::Unspecified => Err(DecodeError::missing($field)),
                $(<$wire>::$name => Ok(<$own>::$name),)+
            }
        }
    };
}

same_names!(
    due_to_wire,
    due_from_wire,
    Due,
    pb::Due,
    "due",
    [Values, Delays, Claims, Ages, Dead, Records, Ids, Drops, Buckets, Uploads, Secrets]
);
same_names!(
    reason_to_wire,
    reason_from_wire,
    Reason,
    pb::Reason,
    "reason",
    [
        WrongGroup,
        WrongTerm,
        TooMany,
        TooLarge,
        Invalid,
        OutcomeUnknown,
        NoBucket,
        BucketFullKeys,
        BucketFullBytes,
        Mismatch,
        NotANumber,
        Overflow,
        NoQueue,
        QueueFullMessages,
        QueueFullBytes,
        Paused,
        Stale,
        Late,
        OtherRequest,
        NoInvocation,
        Ended,
        NotDead,
        NoSchedule,
        SchedulesFull,
        Nowhere,
        NoTopic,
        NameTaken,
        InUse,
        Dropping,
        QueuesFull,
        ListFull,
        Loop,
        NeverFits,
        Busy,
        BucketsFull,
        NoUpload,
        Precondition,
        UploadsFull,
        BucketDropping,
        NoSecret,
        NoWebhook,
        SecretsFull
    ]
);

same_names!(cause_to_wire, cause_from_wire, Cause, pb::Cause, "cause", [Attempts, Age, Rejected]);

same_names!(missed_to_wire, missed_from_wire, Missed, pb::Missed, "missed", [Skip, Once, All]);

same_names!(overlap_to_wire, overlap_from_wire, Overlap, pb::Overlap, "overlap", [Allow, Forbid]);

same_names!(
    deletion_to_wire,
    deletion_from_wire,
    Deletion,
    pb::Deletion,
    "deletion",
    [Unused, Forced, Begun]
);

same_names!(access_to_wire, access_from_wire, Access, pb::BlobAccess, "access", [Signed, Read, Open]);

same_names!(how_to_wire, how_from_wire, How, pb::How, "how", [Succeeded, Dead, Cancelled, Dropped]);

same_names!(form_to_wire, form_from_wire, Form, pb::Form, "form", [Github, Stripe, Slack, Standard]);

pub(super) const fn fence_to_wire(fence: Fence) -> pb::Fence {
    pb::Fence { term: fence.term, sequence: fence.sequence }
}

pub(super) fn fence_from_wire(wire: Option<pb::Fence>) -> Result<Fence, DecodeError> {
    let pb::Fence { term, sequence } = wire.in_field("fence")?;
    Ok(Fence { term, sequence })
}

pub(super) fn place_to_wire(place: &Place) -> pb::Place {
    pb::Place { namespace: place.namespace.to_string(), name: place.name.to_string() }
}

pub(super) fn place_from_wire(wire: Option<pb::Place>, field: &'static str) -> Result<Place, DecodeError> {
    let wire = wire.in_field(field)?;
    Place::parse(&wire.namespace, &wire.name).in_field(field)
}

pub(super) fn invocation_from_wire(wire: &[u8]) -> Result<InvocationId, DecodeError> {
    InvocationId::try_from(wire).in_field("invocation")
}

/// A function within the namespace of whatever names it.
pub(super) fn function_to_wire(function: Option<&Name>) -> String {
    function.map_or_else(String::new, Name::to_string)
}

pub(super) fn function_from_wire(wire: &str) -> Result<Option<Name>, DecodeError> {
    if wire.is_empty() { Ok(None) } else { Name::parse(wire).map(Some).in_field("function") }
}

/// The same where there must be one.
pub(super) fn hearer_from_wire(wire: &str) -> Result<Name, DecodeError> {
    Name::parse(wire).in_field("function")
}

/// The name of something else of its namespace.
pub(super) fn name_from_wire(wire: &str, field: &'static str) -> Result<Name, DecodeError> {
    Name::parse(wire).in_field(field)
}

/// Headers of HTTP.
pub(super) fn headers_to_wire(headers: &[(String, Bytes)]) -> Vec<pb::Header> {
    headers.iter().map(|(name, value)| pb::Header { name: name.clone(), value: value.clone() }).collect()
}

pub(super) fn headers_from_wire(wire: Vec<pb::Header>) -> Vec<(String, Bytes)> {
    wire.into_iter().map(|pb::Header { name, value }| (name, value)).collect()
}

/// Zero stands for nothing where a number begins at one.
pub(super) fn above_zero(number: u64) -> Option<u64> {
    (number > 0).then_some(number)
}
