//! Walks through the files below a folder that matter. Within bounds, and never through a symlink to a folder.

use std::collections::HashMap;
use std::fs::{self, DirEntry, FileType};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::ignores::{GITIGNORE, Ignores};

/// How many files and folders are looked at for one app; what is beyond is not watched, and that is said.
pub(super) const ENTRIES_MAX: usize = 200_000;

/// What tells one content of a file from another, as far as that can be told without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
    bytes: u64,
}

/// Each file by its path.
pub(super) type Stamps = HashMap<PathBuf, Stamp>;

/// How much may still be looked at.
#[derive(Debug)]
pub(super) struct Budget(usize);

/// What is found in a folder and matters.
enum Found {
    Folder(PathBuf),
    File(PathBuf),
}

// === impl Stamp ===

impl Stamp {
    /// None if nothing is there.
    pub(super) fn of(path: &Path) -> Option<Self> {
        // A link whose target is gone is a file all the same.
        let found = fs::metadata(path).or_else(|_| fs::symlink_metadata(path));
        let found = found.ok()?;
        Some(Self {
            inode: found.ino(),
            seconds: found.mtime(),
            nanoseconds: found.mtime_nsec(),
            bytes: found.len(),
        })
    }
}

// === impl Budget ===

impl Budget {
    pub(super) fn full() -> Self {
        Self(ENTRIES_MAX)
    }

    pub(super) fn is_spent(&self) -> bool {
        self.0 == 0
    }

    fn take(&mut self) -> bool {
        let left = !self.is_spent();
        self.0 = self.0.saturating_sub(1);
        left
    }
}

/// Shows every folder from `start` on to `enter`, before it is read, and every file to `file`; `.gitignore` files, too.
/// Folders that cannot be read are left out, as they are for the app.
///
/// # Errors
///
/// What `enter` has failed with ends it.
pub(super) fn walk<E>(
    start: &Path,
    ignores: &mut Ignores,
    budget: &mut Budget,
    mut enter: impl FnMut(&Path) -> Result<(), E>,
    mut file: impl FnMut(PathBuf),
) -> Result<(), E> {
    let mut folders = vec![start.to_owned()];
    while let Some(folder) = folders.pop() {
        enter(&folder)?;
        ignores.learn(&folder);
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            if !budget.take() {
                return Ok(());
            }
            match found(&entry, ignores) {
                Some(Found::Folder(path)) => folders.push(path),
                Some(Found::File(path)) => file(path),
                None => {}
            }
        }
    }
    Ok(())
}

fn found(entry: &DirEntry, ignores: &Ignores) -> Option<Found> {
    let path = entry.path();
    let is_folder = entry.file_type().as_ref().is_ok_and(FileType::is_dir);
    if entry.file_name() != GITIGNORE && ignores.ignores(&path, is_folder) {
        return None;
    }
    Some(match is_folder {
        true => Found::Folder(path),
        false => Found::File(path),
    })
}
