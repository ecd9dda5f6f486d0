//! The first of several addresses that answers. Each is tried a little after the one before, so that a silent one costs
//! that little and no more, and the first one wins where it is well.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

/// Longer than a healthy node needs to answer, on a busy machine too.
const STAGGER: Duration = Duration::from_millis(500);
/// All of many have been begun by then.
const BEGUN_WITHIN: Duration = Duration::from_millis(1500);

/// The first success; else all errors, in the order in which they came.
pub(crate) async fn first<T, E>(
    attempts: impl ExactSizeIterator<Item = impl Future<Output = Result<T, E>>>,
) -> Result<T, Vec<E>> {
    let pause = pause(attempts.len());
    let mut waiting = attempts;
    let mut running = FuturesUnordered::new();
    let mut reasons = Vec::new();
    running.extend(waiting.next());
    loop {
        tokio::select! {
            biased;
            Some(ended) = running.next() => match ended {
                Ok(found) => return Ok(found),
                Err(reason) => {
                    reasons.push(reason);
                    running.extend(waiting.next());
                }
            },
            () = tokio::time::sleep(pause), if waiting.len() > 0 => running.extend(waiting.next()),
            else => return Err(reasons),
        }
    }
}

/// Between the beginnings of so many.
fn pause(count: usize) -> Duration {
    let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
    STAGGER.min(BEGUN_WITHIN / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENT: Option<Result<(), ()>> = None;
    const REFUSED: Option<Result<(), ()>> = Some(Err(()));
    const ANSWERED: Option<Result<(), ()>> = Some(Ok(()));

    /// Which of them is taken, or which have failed.
    async fn race(what: &[Option<Result<(), ()>>]) -> Result<usize, Vec<usize>> {
        let attempt = async |(place, what): (usize, &Option<Result<(), ()>>)| match what {
            None => std::future::pending().await,
            Some(answer) => answer.map(|()| place).map_err(|()| place),
        };
        first(what.iter().enumerate().map(attempt)).await
    }

    #[tokio::test]
    async fn the_first_that_answers_is_taken() {
        assert_eq!(race(&[ANSWERED, ANSWERED]).await, Ok(0));
        assert_eq!(race(&[REFUSED, ANSWERED]).await, Ok(1));
        assert_eq!(race(&[REFUSED, REFUSED]).await, Err(vec![0, 1]));
        assert_eq!(race(&[SILENT, REFUSED, ANSWERED]).await, Ok(2));
        assert_eq!(race(&[]).await, Err(vec![]));
    }

    #[test]
    fn however_many_are_silent_all_are_begun_soon() {
        assert_eq!((pause(1), pause(3)), (STAGGER, STAGGER));
        assert!((1..100).all(|count| pause(count) * u32::try_from(count).unwrap() <= BEGUN_WITHIN));
    }
}
