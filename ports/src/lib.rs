//! Who may be connected to a port of a node: so many, so many of one address, and none that waits for ever.
//!
//! [`Places`] decides, for every port of every process. A gRPC port is served through [`incoming`] and [`Count`]; whoever
//! speaks HTTP without gRPC takes its places itself. [`Files`] says what part of a process's open files a port may have.

mod caller;
mod count;
mod files;
mod incoming;
mod os;
mod places;
mod usage;

pub use caller::network;
pub use count::{Count, Counted};
pub use files::Files;
pub use incoming::{Guarded, Info, incoming};
pub use places::{Bounds, Full, Place, Places};
pub use usage::{Asking, Usage};

use std::time::{Duration, Instant};

/// After an accept failed, most often for want of file descriptors: trying at once would only spin.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[expect(clippy::disallowed_methods, reason = "how long a connection waits is measured here")]
fn now() -> Instant {
    Instant::now()
}
