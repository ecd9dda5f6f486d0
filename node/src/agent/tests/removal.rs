//! Which orders to remove are carried out.

use std::time::Duration;

use coracle_proto::id::Revision;

use super::super::Removal;
use super::super::plan::{Facts, Step};
use super::super::removal::{Kept, permitted};
use super::digest;
use crate::view::View;

#[test]
fn only_what_nothing_wants_as_far_as_a_new_enough_view_tells() {
    let order =
        Removal { digest: digest(1), revision: Revision::new(10), older_than: Duration::from_secs(1) };
    let mut view = View::default();
    view.held.stamp.revision = Revision::new(10);
    assert_eq!(permitted(&order, &Facts::default(), &view), Ok(()));
    let assigned = Facts { assigned: [digest(1)].into(), ..Facts::default() };
    assert_eq!(permitted(&order, &assigned, &view), Err(Kept::Wanted));
    let hold = Facts { hold: [digest(1)].into(), ..Facts::default() };
    assert_eq!(permitted(&order, &hold, &view), Err(Kept::Wanted));
    let running = Facts { running: [(digest(1), Step::Fetch)].into(), ..Facts::default() };
    assert_eq!(permitted(&order, &running, &view), Err(Kept::Wanted));
    view.held.stamp.revision = Revision::new(9);
    assert_eq!(permitted(&order, &Facts::default(), &view), Err(Kept::ViewTooOld));
}
