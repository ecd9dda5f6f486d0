//! Names of blobs, a page after the other.

use std::collections::VecDeque;
use std::sync::Arc;

use wasmtime::component::Resource;

use super::{Container, at};
use crate::blobs::{Listing, Page};
use crate::runtime::state::keeper::{Opened, View, deadline};
use crate::runtime::state::operation::Operation;
use crate::runtime::state::trouble::Trouble;

/// Names that are given at once.
const NAMES_AT_ONCE: usize = 1000;

/// A list that a guest reads.
#[expect(unreachable_pub, reason = "generated bindings give it another name")]
pub struct Names {
    opened: Arc<Opened>,
    /// Those that were asked for and not taken.
    names: VecDeque<String>,
    /// Where the next page begins; none: there is no other one.
    after: Option<String>,
    _open: Arc<()>,
}

impl View<'_> {
    /// Begins to list a bucket.
    pub(in crate::runtime) async fn list_objects(
        &mut self,
        handle: &Resource<Container>,
    ) -> Result<Resource<Names>, Trouble> {
        let (opened, _open) = (self.container(handle)?, self.keeper.stream()?);
        let page = self.page(&opened, String::new()).await?;
        self.push(Names { opened, names: names(page.blobs), after: next(page.after), _open })
    }

    async fn page(&mut self, opened: &Opened, after: String) -> Result<Page, Trouble> {
        let task = self.keeper.task(Operation::ListObjects, 1)?;
        let listing = async {
            let listing = Listing { after, ..Listing::default() };
            let page = self.keeper.blobs()?.blobs(&opened.bucket, listing, deadline()).await?;
            self.keeper.read(page.blobs.iter().map(|it| it.key.len()).sum())?;
            Ok(page)
        };
        task.run(Some(&opened.bucket.name), listing).await
    }

    /// The next names, and whether they are the last ones.
    pub(in crate::runtime) async fn next_names(
        &mut self,
        handle: &Resource<Names>,
        most: u64,
    ) -> Result<(Vec<String>, bool), Trouble> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(NAMES_AT_ONCE);
        loop {
            let list = self.table.get_mut(handle)?;
            // A page that fails is asked for again: the list does not end there.
            match list.after.clone() {
                Some(after) if list.names.is_empty() => {
                    let opened = Arc::clone(&list.opened);
                    let page = self.page(&opened, after).await?;
                    let list = self.table.get_mut(handle)?;
                    (list.names, list.after) = (names(page.blobs), next(page.after));
                }
                _ => {
                    let count = most.min(list.names.len());
                    let names = list.names.drain(..count).collect();
                    return Ok((names, list.names.is_empty() && list.after.is_none()));
                }
            }
        }
    }

    /// Passes over so many names: how many there were, and whether that was the end.
    pub(in crate::runtime) async fn skip_names(
        &mut self,
        handle: &Resource<Names>,
        count: u64,
    ) -> Result<(u64, bool), Trouble> {
        let mut skipped = 0;
        loop {
            let (names, last) = self.next_names(handle, count - skipped).await?;
            skipped += names.len() as u64;
            if last || skipped == count {
                return Ok((skipped, last));
            }
        }
    }

    /// Deletes whatever there is, one after the other.
    pub(in crate::runtime) async fn clear(&mut self, handle: &Resource<Container>) -> Result<(), Trouble> {
        let (opened, hops) = (self.container(handle)?, self.keeper.call()?.next_hops());
        let mut after = Some(String::new());
        while let Some(behind) = after {
            let page = self.page(&opened, behind).await?;
            for info in page.blobs {
                let task = self.keeper.task(Operation::Clear, 1)?;
                let deleting = async {
                    opened.check_writes()?;
                    let (at, blobs) = (at(&opened, info.key)?, self.keeper.blobs()?);
                    blobs.delete(&at, hops, deadline()).await?;
                    Ok(())
                };
                task.run(Some(&opened.bucket.name), deleting).await?;
            }
            after = next(page.after);
        }
        Ok(())
    }
}

fn names(blobs: Vec<crate::blobs::Info>) -> VecDeque<String> {
    blobs.into_iter().map(|info| info.key).collect()
}

fn next(after: String) -> Option<String> {
    Some(after).filter(|after| !after.is_empty())
}
