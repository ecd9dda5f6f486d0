//! What is done with a component that came: it is checked, and compiled when it is its turn.

use std::path::Path;
use std::time::Duration;

use coracle_proto::id::Digest;
use coracle_proto::status::Refusal;

use super::Checked;
use super::upload::{Progress, Uploads};
use crate::clock;
use crate::turns::{Turn, telling};

/// Who waits is told how it is that often, and whoever stands between them sees that there is life.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// What was found, remembered, so that a repeated deploy does not read the artifact again.
const FOUND_MAX: usize = 10_000;

impl Uploads {
    /// Checks and compiles; after that the artifact may be stored.
    pub(super) async fn accept(
        &self,
        digest: &Digest,
        path: &Path,
        turn: Turn,
        progress: &Progress,
    ) -> Result<Checked, Refusal> {
        let checked = {
            // Never closed; without a permit it would only be one more.
            let _one = self.checks.acquire().await;
            self.prepare.check(path).await.map_err(|refusal| self.at("check", refusal))?
        };
        progress.step("checked", self.node, checked.kind.to_string()).await;
        // Code that is here is only looked up, and waits for nobody's compilation.
        if !self.prepare.is_prepared(digest) {
            self.wait(&turn, progress).await;
        }
        let started = clock::now();
        let compiling = self.prepare.prepare(digest, path);
        let tell = |elapsed| progress.working(self.node, 0, elapsed);
        let compiled = telling(compiling, TELL_EVERY, tell).await;
        compiled.map_err(|refusal| self.at("compile", refusal))?;
        // Others' turn, however slowly this one's steps are read.
        drop(turn);
        self.metrics.compile.observe(clock::now().saturating_duration_since(started).as_secs_f64());
        progress.step("compiled", self.node, String::new()).await;
        self.remember(*digest, checked);
        Ok(checked)
    }

    /// The same for one that is stored: nothing to do, unless it came as a copy and was never used here.
    pub(super) async fn again(
        &self,
        digest: Digest,
        turn: Turn,
        progress: &Progress,
    ) -> Result<Checked, Refusal> {
        let path = self.store.path(&digest);
        match self.known(&digest) {
            Some(checked) if self.prepare.is_prepared(&digest) => Ok(checked),
            Some(_) | None => self.accept(&digest, &path, turn, progress).await,
        }
    }

    /// Waits for its turn, and tells how many have theirs before.
    async fn wait(&self, turn: &Turn, progress: &Progress) {
        let tell = |elapsed| {
            if let Some(ahead) = turn.ahead() {
                progress.working(self.node, ahead, elapsed);
            }
        };
        let mut begin = std::pin::pin!(turn.begin());
        if futures::poll!(begin.as_mut()).is_pending() {
            // At once, for the first second may be all of it.
            tell(Duration::ZERO);
            telling(begin, TELL_EVERY, tell).await;
        }
    }

    fn remember(&self, digest: Digest, checked: Checked) {
        let mut found = self.found();
        if found.len() >= FOUND_MAX {
            found.clear();
        }
        found.insert(digest, checked);
    }
}
