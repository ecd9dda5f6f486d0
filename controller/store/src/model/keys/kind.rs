//! With which byte the key of each kind of record begins. Two of one byte do not compile.

/// What a key is of, by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Group = b'g',
    Request = b'r',
    Done = b'o',
    Bucket = b'b',
    Buckets = b'B',
    Watchers = b'h',
    Value = b'v',
    Late = b'u',
    Blob = b'K',
    BlobData = b'D',
    Committed = b'M',
    Commit = b'S',
    Upload = b'U',
    UploadParts = b'P',
    UploadOf = b'N',
    Uploads = b'O',
    Queue = b'q',
    Counts = b'n',
    Topic = b'p',
    Nodes = b'y',
    Message = b'm',
    Delivery = b's',
    Ready = b'w',
    Active = b'a',
    Dead = b'd',
    InGroup = b'f',
    Id = b'i',
    IdOrder = b'j',
    Invocation = b'e',
    Answer = b'x',
    Listed = b'l',
    Ended = b'z',
    Schedule = b'k',
    Schedules = b'c',
    Secret = b'X',
    Secrets = b'Z',
    Webhook = b'W',
    User = b'Y',
    Timer = b't',
}

impl Kind {
    pub(super) const fn byte(self) -> u8 {
        self as u8
    }
}
