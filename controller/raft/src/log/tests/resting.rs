//! Groups that rest while others write: they hold no old segments, and lose nothing.

use super::*;

/// Lets a group write, and forget, so many megabytes.
async fn write(open: &Open, log: &mut LogStore, megabytes: u64) {
    let first = log.get_log_state().await.unwrap().last_log_id.map_or(0, |last| last.index + 1);
    for index in (first..first + megabytes).step_by(4) {
        log.blocking_append((index..index + 4).map(|index| entry(1, index, 1 << 20))).await.unwrap();
        log.purge(log_id(1, index + 3)).await.unwrap();
        open.writer.checkpointed(&log.group, log_id(1, index + 3)).unwrap();
    }
}

/// One group rests with entries in the first segment, others write.
#[tokio::test]
async fn a_group_that_rests_does_not_hold_segments() {
    // A few, and more than what is moved while there are few segments.
    for (bytes, megabytes, segments) in [(100, 160, 12), (1 << 19, 320, 36)] {
        let (_dir, path) = made();
        let mut open = Open::new(&path);
        let (mut rests, mut writes) = (open.group(1), open.group(2));
        for log in [&mut rests, &mut writes] {
            log.save_vote(&Vote::new(1, 1)).await.unwrap();
        }
        let expected: Vec<_> = (0..7).map(|index| entry(1, index, bytes)).collect();
        rests.blocking_append(expected.clone()).await.unwrap();
        write(&open, &mut writes, megabytes).await;
        assert_eq!(read(&mut rests).await, expected);
        open.close();
        let left = numbers(&path).unwrap();
        assert!(left[0] > 1 && left.len() <= segments, "{left:?}");
        // Started again it rests still, and nobody makes it a member.
        let end = megabytes - 1;
        let mut open = Open::at(&path, |group| (group == 2).then(|| log_id(1, end)));
        let mut writes = open.group(2);
        write(&open, &mut writes, 100).await;
        open.close();
        let now = numbers(&path).unwrap();
        assert!(bytes > 100 || now[0] > left[0] + 8, "{left:?} {now:?}");
        let mut open = Open::at(&path, |group| (group == 2).then(|| log_id(1, end + 100)));
        assert_eq!(read(&mut open.group(1)).await, expected);
        open.close();
    }
}

/// The tail is ahead of what is written: a purge, or a truncation, waits while old entries are moved.
#[tokio::test]
async fn what_is_moved_says_what_the_tail_lacks() {
    for purges in [true, false] {
        let (_dir, path) = made();
        let mut open = Open::new(&path);
        let (mut rests, mut writes) = (open.group(1), open.group(2));
        for log in [&mut rests, &mut writes] {
            log.save_vote(&Vote::new(1, 1)).await.unwrap();
        }
        rests.blocking_append((0..7).map(|index| entry(1, index, 100))).await.unwrap();
        write(&open, &mut writes, 16).await;
        rests.blocking_append([entry(1, 7, 100)]).await.unwrap();
        open.writer.checkpointed(&rests.group, log_id(1, 4)).unwrap();
        // As a core has done it whose order waits for the log's thread.
        match purges {
            true => rests.group.tail().purge(log_id(1, 3)),
            false => rests.group.tail().truncate_after(Some(log_id(1, 5))),
        }
        write(&open, &mut writes, 160).await;
        let expected = read(&mut rests).await;
        open.close();
        assert!(numbers(&path).unwrap()[0] > 3, "nothing was moved");
        let mut log = recover(&path, syncs(&path)).unwrap();
        let restored = log.groups.remove(&GroupId::new(1)).unwrap().tail(Some(log_id(1, 4))).unwrap();
        let ids: Vec<_> = expected.iter().map(|entry| entry.log_id).collect();
        assert_eq!(restored.ids().collect::<Vec<_>>(), ids);
    }
}
