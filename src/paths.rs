//! Where a path leads that somebody wrote, for messages: whoever reads one may stand elsewhere than hitless does. Never
//! follows a symlink, and never looks whether anything is there.

use std::path::{Path, PathBuf};

/// The whole path: a relative one starts at the folder of this process.
pub(crate) fn whole(path: &Path) -> PathBuf {
    // Refused for an empty path, or where the folder of this process is gone.
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_is_named_from_the_root_on() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(whole(Path::new("./a/b")), here.join("a/b"));
        assert_eq!(whole(Path::new(".")), here);
        assert_eq!(whole(Path::new("/a/../b")), Path::new("/a/../b"));
        assert_eq!(whole(Path::new("")), Path::new(""));
    }
}
