//! Windows of the connections that carry calls between two nodes. That of the whole connection is the same at both ends; of one
//! call, a caller says how much may come of the answer, and a worker how much of the body (`accept`).

/// What may come of one answer before its caller reads it.
pub const ANSWER_WINDOW_BYTES: u32 = 256 << 10;
/// What may come of one body before it is read: 10 MB/s and more where a round trip takes a tenth of a second. At 7402
/// there are as many of them as calls are admitted and artifacts received; at 7400 uploads pass through, and at 7403 chunks.
pub const BODY_WINDOW_BYTES: u32 = 1 << 20;
/// The same for all calls of a connection together: as much as HTTP/2 has. A body that nobody reads keeps its own window
/// full; were this one to fill, it would hold up every other call, and the pings. The bound is that of open calls.
pub const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;
