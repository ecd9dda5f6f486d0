//! Why an operation was refused: a reason for programs, a sentence for people.

use std::fmt;

/// What was wrong, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The entry is of another cluster or group.
    WrongGroup,
    /// The entry was made in another term than its log's: its stamp and its decisions count for nothing.
    WrongTerm,
    /// More parts than one entry or operation may have.
    TooMany,
    /// A key, value or body of too many bytes.
    TooLarge,
    /// It cannot be done with these arguments.
    Invalid,
    /// A request so old that its outcome may be forgotten.
    OutcomeUnknown,
    /// There is no such bucket.
    NoBucket,
    /// The bucket has as many keys as it may.
    BucketFullKeys,
    /// The bucket has as many bytes as it may.
    BucketFullBytes,
    /// The value is at another version than the one that was expected.
    Mismatch,
    /// An increment of what is no number.
    NotANumber,
    /// An increment over the greatest number, or below the least.
    Overflow,
    /// There is no such queue.
    NoQueue,
    /// The queue has as many messages as it may, dead letters among them.
    QueueFullMessages,
    /// The queue has as many bytes as it may.
    QueueFullBytes,
    /// Nothing is claimed of a paused queue.
    Paused,
    /// The message is not held by this claim any more: what its attempt did counts for nothing.
    Stale,
    /// There is no such schedule.
    NoSchedule,
    /// The group has as many schedules as it may.
    SchedulesFull,
    /// The schedule has had this tick, or a later one.
    Late,
    /// The id was used for another request.
    OtherRequest,
    /// There is no such invocation, or not any more.
    NoInvocation,
    /// The invocation has ended.
    Ended,
    /// The invocation is no dead letter.
    NotDead,
    /// There is neither a queue nor a topic of that name.
    Nowhere,
    /// There is no such topic.
    NoTopic,
    /// The name is that of something else.
    NameTaken,
    /// Somebody uses it, or it holds something.
    InUse,
    /// The queue is being deleted.
    Dropping,
    /// The bucket is being deleted.
    BucketDropping,
    /// The group has as many queues and topics as it may.
    QueuesFull,
    /// As many functions as may hear one thing do.
    ListFull,
    /// Calls for events have caused each other too often in a row.
    Loop,
    /// More than can be taken at once, whatever else there is.
    NeverFits,
    /// Others of its entry have used up what one entry may do: it is to be asked again.
    Busy,
    /// The group has as many buckets as it may.
    BucketsFull,
    /// There is no such upload, or it has ended.
    NoUpload,
    /// The blob is not as the request's conditions say.
    Precondition,
    /// The group has as many open uploads as it may.
    UploadsFull,
    /// There is no such secret.
    NoSecret,
    /// There is no such webhook.
    NoWebhook,
    /// The group has as many secrets as it may.
    SecretsFull,
}

/// An operation that was not done, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub reason: Reason,
    /// What it is about: a bucket, a key, an argument.
    pub subject: String,
    /// How much there is, or would be.
    pub found: u64,
    /// How much there may be, or was expected.
    pub bound: u64,
}

impl Refusal {
    /// A refusal that needs no numbers.
    pub(super) fn of(reason: Reason, subject: impl fmt::Display) -> Self {
        Self::over(reason, subject, 0, 0)
    }

    /// The same of sizes in memory.
    pub(super) fn over_size(reason: Reason, subject: impl fmt::Display, found: usize, bound: usize) -> Self {
        let wide = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
        Self::over(reason, subject, wide(found), wide(bound))
    }

    /// A refusal with what was found and what the bound is.
    pub(super) fn over(reason: Reason, subject: impl fmt::Display, found: u64, bound: u64) -> Self {
        Self { reason, subject: subject.to_string(), found, bound }
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, subject, found, bound } = self;
        match reason {
            Reason::WrongGroup => write!(f, "the entry is of {subject}, and this is another group"),
            Reason::WrongTerm => {
                write!(f, "it was made in term {found}, and this is term {bound}: make it anew")
            }
            Reason::TooMany => write!(f, "{found} {subject}, and at most {bound} are allowed"),
            Reason::TooLarge => write!(f, "{subject} has {found} bytes, and at most {bound} are allowed"),
            Reason::InUse => write!(f, "{subject}; --force deletes it all the same"),
            Reason::Invalid
            | Reason::Ended
            | Reason::NotDead
            | Reason::NameTaken
            | Reason::NeverFits
            | Reason::Precondition => f.write_str(subject),
            Reason::Busy => write!(f, "{found} {subject}, and {bound} are left of this moment: ask again"),
            Reason::OutcomeUnknown => write!(
                f,
                "the request is as old as sequence {found}, and outcomes before {bound} are forgotten: look whether it was done"
            ),
            Reason::NoBucket => write!(f, "there is no bucket '{subject}'"),
            Reason::BucketFullKeys => {
                write!(f, "bucket '{subject}' would have {found} keys, its bound is {bound}")
            }
            Reason::BucketFullBytes => {
                write!(f, "bucket '{subject}' would have {found} bytes, its bound is {bound}")
            }
            Reason::Mismatch => write!(f, "{subject} is at version {found}, not at {bound}"),
            Reason::NotANumber => write!(f, "{subject} is not a whole number of 64 bits"),
            Reason::NoQueue => write!(f, "there is no queue '{subject}'"),
            Reason::QueueFullMessages => {
                write!(f, "queue '{subject}' would have {found} messages, its bound is {bound}")
            }
            Reason::QueueFullBytes => {
                write!(f, "queue '{subject}' would have {found} bytes, its bound is {bound}")
            }
            Reason::Paused => write!(f, "queue '{subject}' is paused"),
            Reason::Stale => write!(f, "message {subject} is not held by this claim any more"),
            Reason::NoSchedule => write!(f, "there is no schedule '{subject}'"),
            Reason::Nowhere => write!(f, "there is neither a queue nor a topic '{subject}'"),
            Reason::NoTopic => write!(f, "there is no topic '{subject}'"),
            Reason::NoSecret => write!(f, "there is no secret '{subject}'"),
            Reason::NoWebhook => write!(f, "there is no webhook '{subject}'"),
            Reason::Dropping | Reason::BucketDropping => write!(f, "{subject} is being deleted"),
            Reason::ListFull => write!(f, "{subject}, its bound is {bound}"),
            Reason::Loop => {
                write!(
                    f,
                    "{found} calls for {subject} would stand behind each other, and at most {bound} may"
                )
            }
            Reason::SchedulesFull
            | Reason::QueuesFull
            | Reason::BucketsFull
            | Reason::UploadsFull
            | Reason::SecretsFull => {
                write!(f, "the data group would have {found} {subject}, its bound is {bound}")
            }
            Reason::Late => {
                write!(f, "schedule '{subject}' has been at {bound}, and {found} is not after it")
            }
            Reason::OtherRequest => write!(f, "{subject} was used for another request"),
            Reason::NoUpload => write!(f, "there is no upload {subject} of this blob, or not any more"),
            Reason::NoInvocation => write!(f, "there is no invocation {subject}, or not any more"),
            Reason::Overflow => write!(f, "{subject} would leave the range of 64 bits"),
        }
    }
}
