//! A small disk for a folder, which can be filled. Needs root.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system in memory, mounted over a folder until this ends.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    pub(crate) fn mount(folder: &Path, mebibytes: usize) -> Self {
        fs::create_dir_all(folder).expect("a folder");
        let size = format!("size={mebibytes}m,mode=0700");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder).output();
        let output = output.expect("mount runs");
        let wrong = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {wrong} (it takes root)", folder.display());
        Self(folder.to_owned())
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Takes all room that is left; how many bytes that were.
    ///
    /// # Panics
    /// When it cannot be written to at all.
    #[must_use]
    pub fn fill(&self) -> usize {
        let mut file = File::create(self.ballast()).expect("a file");
        let (mut taken, mut block) = (0, 1 << 20);
        while block > 0 {
            match file.write(&vec![1; block]) {
                Ok(written) if written > 0 => taken += written,
                _ => block /= 2,
            }
        }
        taken
    }

    /// Gives the room back.
    ///
    /// # Panics
    /// When it was not filled.
    pub fn empty(&self) {
        fs::remove_file(self.ballast()).expect("it was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whoever still has a file open there keeps it, not its name.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}
