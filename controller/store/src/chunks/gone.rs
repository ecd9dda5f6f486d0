//! What is here of a group that has no replica here any more: it is renamed at once, and unlinked when there is time for it. A store that
//! ended in between goes on with it when it begins.

use std::fs;
use std::io;

use coracle_proto::id::GroupId;
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::Chunks;

/// How folders begin that nobody has a use for.
const GONE: &str = ".gone-";

impl Chunks {
    /// Takes away what is here of a group. Nobody finds it any more when this returns; unlinking may take minutes, and is not waited for.
    pub(crate) async fn forget(&self, group: GroupId) {
        let folder = self.folder.join(group.to_string());
        let aside = self.folder.join(format!("{GONE}{group}-{:016x}", rand::random::<u64>()));
        let renamed = spawn_blocking(move || fs::rename(&folder, &aside)).await;
        match renamed {
            Ok(Ok(())) => self.clear(),
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(Err(error)) => {
                warn!(%group, %error, "chunks of a group that is not here any more stay on the disk");
            }
            // The store ends: it is told again.
            Err(_) => {}
        }
    }

    /// Unlinks what was renamed, now or before the store began.
    pub(crate) fn clear(&self) {
        let chunks = self.clone();
        tokio::spawn(async move {
            // One walk through files at a time. Never closed.
            let _turn = chunks.aside.acquire().await.ok();
            let folder = chunks.folder.clone();
            let cleared = spawn_blocking(move || {
                let Ok(entries) = fs::read_dir(&folder) else { return };
                let gone = entries.flatten().filter(|it| it.file_name().to_string_lossy().starts_with(GONE));
                for entry in gone {
                    match fs::remove_dir_all(entry.path()) {
                        Ok(()) => {
                            info!(folder = %entry.path().display(), "chunks of a group that is not here are gone")
                        }
                        Err(error) => {
                            warn!(folder = %entry.path().display(), %error, "chunks stay on the disk")
                        }
                    }
                }
            });
            // It says by itself what fails.
            let _ = cleared.await;
        });
    }
}
