//! Bounds, restarts, torn and damaged segments, readers that are overtaken.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use super::super::reader::Cursor;
use super::super::ring::{Extent, Ring, RingLimits};
use super::{frame, number};
use crate::age::Moment;

const LIMITS: RingLimits =
    RingLimits { bytes: 40_000, segment_bytes: 10_000, age: Duration::from_millis(1_000) };

/// Both clocks say so.
fn at(now_ms: u64) -> Moment {
    Moment { wall_ms: now_ms, age_ms: now_ms }
}

fn disk_bytes(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

/// Everything from the cursor on, and how much was missing.
fn read_all(cursor: &mut Cursor, extent: &Extent) -> (Vec<u64>, u64) {
    let (mut numbers, mut missed) = (Vec::new(), 0);
    loop {
        let before = *cursor;
        let batch = cursor.read(extent).unwrap();
        missed += batch.missed;
        for (index, frame) in &batch.frames {
            assert_eq!(*index, number(frame), "each frame under its own number");
            numbers.push(*index);
        }
        if *cursor == before {
            return (numbers, missed);
        }
    }
}

fn append(ring: &mut Ring, numbers: std::ops::Range<u64>, now_ms: u64) {
    for number in numbers {
        ring.append(&[frame(number, 500)], at(now_ms)).unwrap();
    }
}

#[test]
fn the_ring_keeps_the_newest_and_never_exceeds_its_bound() {
    let folder = tempfile::tempdir().unwrap();
    let mut ring = Ring::open(folder.path(), LIMITS, 0).unwrap();
    for number in 0..1000 {
        ring.append(&[frame(number, 500)], at(0)).unwrap();
        assert!(disk_bytes(folder.path()) <= LIMITS.bytes + 600, "{number}");
        assert_eq!(disk_bytes(folder.path()), ring.bytes());
    }
    let extent = ring.readers().borrow().clone();
    let (numbers, missed) = read_all(&mut Cursor::since(&extent, 0), &extent);
    assert_eq!(missed, 0);
    assert_eq!(*numbers.last().unwrap(), 999);
    assert!(numbers.len() > 40, "{}", numbers.len());
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]));
}

#[test]
fn a_batch_larger_than_a_segment_is_split() {
    let folder = tempfile::tempdir().unwrap();
    let mut ring = Ring::open(folder.path(), LIMITS, 0).unwrap();
    let frames: Vec<_> = (0..50).map(|number| frame(number, 500)).collect();
    ring.append(&frames, at(0)).unwrap();
    let extent = ring.readers().borrow().clone();
    assert!(extent.segments.len() >= 3 && extent.segments.iter().all(|segment| segment.bytes <= 10_600));
    assert_eq!(read_all(&mut Cursor::since(&extent, 0), &extent).0, (0..50).collect::<Vec<_>>());
}

#[test]
fn a_torn_tail_is_cut_and_writing_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut ring = Ring::open(folder.path(), LIMITS, 0).unwrap();
    append(&mut ring, 0..30, 0);
    let last = ring.readers().borrow().segments.last().copied().unwrap();
    drop(ring);
    let path = folder.path().join(format!("{:016x}.log", last.first));
    for tail in [&b"\x10"[..], b"\xf4\x01\0\0abcdsome of the line", &[0xff; 40], &[0; 40]] {
        fs::File::options().append(true).open(&path).unwrap().write_all(tail).unwrap();
        let ring = Ring::open(folder.path(), LIMITS, 0).unwrap();
        assert_eq!(ring.readers().borrow().next, 30, "{tail:?}");
        assert_eq!(fs::metadata(&path).unwrap().len(), last.bytes);
    }
    let mut ring = Ring::open(folder.path(), LIMITS, 0).unwrap();
    append(&mut ring, 30..35, 0);
    let extent = ring.readers().borrow().clone();
    assert_eq!(read_all(&mut Cursor::since(&extent, 0), &extent), ((0..35).collect(), 0));
}

#[test]
fn damage_in_the_middle_costs_the_rest_of_its_segment_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut ring = Ring::open(folder.path(), LIMITS, 0).unwrap();
    append(&mut ring, 0..45, 0);
    let extent = ring.readers().borrow().clone();
    let [first, second, ..] = &*extent.segments else { panic!("{extent:?}") };
    let path = folder.path().join(format!("{:016x}.log", first.first));
    let mut bytes = fs::read(&path).unwrap();
    bytes[5000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (numbers, missed) = read_all(&mut Cursor::since(&extent, 0), &extent);
    assert_eq!(numbers.len() as u64 + missed, 45);
    assert!(missed > 0 && missed < second.first);
    assert!(numbers.contains(&second.first) && numbers.contains(&44));
}

#[test]
fn a_reader_that_is_overtaken_is_told_how_much_it_missed() {
    let folder = tempfile::tempdir().unwrap();
    let mut ring = Ring::open(folder.path(), LIMITS, 0).unwrap();
    let readers = ring.readers();
    append(&mut ring, 0..10, 0);
    let mut cursor = Cursor::since(&readers.borrow(), 0);
    assert_eq!(read_all(&mut cursor, &readers.borrow()), ((0..10).collect(), 0));
    let stale = readers.borrow().clone();
    append(&mut ring, 10..200, 0);
    // What it was told of is gone: nothing is read, and nothing is made up.
    assert_eq!(read_all(&mut cursor.clone(), &stale), (vec![], 0));
    let (numbers, missed) = read_all(&mut cursor, &readers.borrow());
    assert_eq!(numbers.len() as u64 + missed, 190);
    assert!(missed > 0);
    assert_eq!(numbers[0], 10 + missed);
}

#[test]
fn a_segment_that_somebody_removed_costs_what_it_had_and_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut ring = Ring::open(folder.path(), LIMITS, 0).unwrap();
    append(&mut ring, 0..45, 0);
    let extent = ring.readers().borrow().clone();
    let [first, second, ..] = &*extent.segments else { panic!("{extent:?}") };
    fs::remove_file(folder.path().join(format!("{:016x}.log", first.first))).unwrap();
    let (numbers, missed) = read_all(&mut Cursor::since(&extent, 0), &extent);
    assert_eq!((missed, numbers[0]), (second.first, second.first), "the reader goes on behind it");
    assert_eq!(numbers.last(), Some(&44));
    // The writer comes to remove it too: what it was to write is kept.
    append(&mut ring, 45..200, 0);
    let extent = ring.readers().borrow().clone();
    assert_eq!(read_all(&mut Cursor::since(&extent, 0), &extent).0.last(), Some(&199));
}

#[test]
fn what_is_too_old_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let mut ring = Ring::open(folder.path(), LIMITS, 1_000).unwrap();
    append(&mut ring, 0..20, 1_000);
    append(&mut ring, 20..40, 1_500);
    ring.expire(at(2_200)).unwrap();
    ring.append(&[], at(2_200)).unwrap();
    let extent = ring.readers().borrow().clone();
    let numbers = read_all(&mut Cursor::since(&extent, 0), &extent).0;
    assert!(!numbers.contains(&0) && numbers.contains(&39), "{numbers:?}");
    ring.expire(at(9_000)).unwrap();
    ring.append(&[], at(9_000)).unwrap();
    let extent = ring.readers().borrow().clone();
    assert!(read_all(&mut Cursor::since(&extent, 0), &extent).0.is_empty());
    append(&mut ring, 40..41, 9_000);
    let extent = ring.readers().borrow().clone();
    assert_eq!(read_all(&mut Cursor::since(&extent, 0), &extent).0, [40], "numbers go on");
}

#[test]
fn a_wall_clock_that_jumps_removes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut ring = Ring::open(folder.path(), LIMITS, 1_000).unwrap();
    append(&mut ring, 0..20, 1_000);
    let jumped = Moment { wall_ms: 315_360_000_000, age_ms: 1_100 };
    ring.expire(jumped).unwrap();
    ring.append(&[frame(20, 500)], jumped).unwrap();
    ring.expire(at(1_200)).unwrap();
    let extent = ring.readers().borrow().clone();
    assert_eq!(read_all(&mut Cursor::since(&extent, 0), &extent), ((0..21).collect(), 0));
    ring.expire(at(2_101)).unwrap();
    let extent = ring.readers().borrow().clone();
    assert!(
        read_all(&mut Cursor::since(&extent, 0), &extent).0.is_empty(),
        "what it wrote then ages as well"
    );
}

#[test]
fn a_disk_that_fails_loses_lines_and_not_the_ring() {
    let folder = tempfile::tempdir().unwrap();
    let mut ring = Ring::open(folder.path(), LIMITS, 0).unwrap();
    append(&mut ring, 0..5, 0);
    ring.fail_writes(true);
    assert!(ring.append(&[frame(5, 500)], at(0)).is_err());
    ring.fail_writes(false);
    append(&mut ring, 5..10, 0);
    let extent = ring.readers().borrow().clone();
    assert_eq!(read_all(&mut Cursor::since(&extent, 0), &extent), ((0..10).collect(), 0));
}

#[test]
fn a_writer_that_has_nothing_to_write_keeps_nothing_young_and_wakes_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let mut ring = Ring::open(folder.path(), LIMITS, 1_000).unwrap();
    append(&mut ring, 0..5, 1_000);
    let mut readers = ring.readers();
    let held = ring.bytes();
    for now_ms in (1_100..=2_000).step_by(100) {
        ring.expire(at(now_ms)).unwrap();
        ring.append(&[], at(now_ms)).unwrap();
        assert!(!readers.has_changed().unwrap(), "{now_ms}");
    }
    assert_eq!(ring.bytes(), held);
    ring.expire(at(2_001)).unwrap();
    assert!(ring.bytes() < held, "the only segment is as old as its newest line");
    let extent = readers.borrow_and_update().clone();
    assert!(read_all(&mut Cursor::since(&extent, 0), &extent).0.is_empty());
}
