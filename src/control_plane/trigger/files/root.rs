//! One path that is to be watched: where it leads now, and what would lead it elsewhere.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::ignores::Ignores;

/// How many symlinks are followed, as the kernel does.
const LINKS_MAX: usize = 40;

/// A path as somebody wrote it, and what is there.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) given: PathBuf,
    /// None: nothing is there now.
    pub(super) place: Option<Place>,
    /// None for a single file, which is named and so never ignored.
    pub(super) ignores: Option<Ignores>,
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Without symlinks.
    pub(super) path: PathBuf,
    is_folder: bool,
    /// The folder that it is. Of a file, which is another one whenever it is saved, the one that it is in: that one is
    /// what the kernel watches.
    folder: Identity,
    /// The symlinks on the way.
    links: Vec<PathBuf>,
}

/// What tells a folder from another one that was put in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    /// File systems give the inode of a folder that is gone to the next one. None where they do not tell.
    born: Option<SystemTime>,
}

// === impl Root ===

impl Root {
    pub(super) fn new(given: &Path, ignore: &[String]) -> Self {
        let place = Place::find(given).ok();
        let folder = place.as_ref().filter(|place| place.is_folder());
        Self {
            given: given.to_owned(),
            ignores: folder.map(|place| Ignores::new(&place.path, ignore)),
            place,
        }
    }

    /// The single file that it is.
    pub(super) fn file(&self) -> Option<&Path> {
        let place = self.place.as_ref().filter(|place| !place.is_folder());
        place.map(|place| place.path.as_path())
    }

    /// The folder that it is.
    pub(super) fn folder(&self) -> Option<&Path> {
        let place = self.place.as_ref().filter(|place| place.is_folder());
        place.map(|place| place.path.as_path())
    }

    /// Whether this path below it matters.
    pub(super) fn minds(&self, path: &Path, is_folder: bool) -> bool {
        let below = self
            .folder()
            .is_some_and(|folder| path != folder && path.starts_with(folder));
        let ignores = self.ignores.as_ref();
        below && !ignores.is_some_and(|ignores| ignores.ignores(path, is_folder))
    }

    /// Whether something else put at this path would lead it elsewhere.
    pub(super) fn turns_at(&self, path: &Path) -> bool {
        let place = self.place.as_ref();
        place.is_some_and(|place| place.hinges().any(|hinge| hinge == path))
    }

    /// How a person calls the path that was written so.
    pub(super) fn called(given: &Path) -> String {
        harmless(&given.to_string_lossy())
    }

    /// How a person calls a path at or below it.
    pub(super) fn shown(&self, path: &Path) -> String {
        let place = self.place.as_ref().map(|place| place.path.as_path());
        let below = place.and_then(|place| path.strip_prefix(place).ok());
        let below = below.unwrap_or_else(|| Path::new(""));
        let whole: PathBuf = self.given.join(below).components().collect();
        let whole = whole.strip_prefix(".").unwrap_or(&whole);
        match whole.as_os_str().is_empty() {
            true => ".".to_owned(),
            false => harmless(&whole.to_string_lossy()),
        }
    }
}

// === impl Place ===

impl Place {
    /// Follows a path to where it leads now.
    ///
    /// # Errors
    ///
    /// Nothing is there, or it may not be looked at.
    pub(super) fn find(given: &Path) -> io::Result<Self> {
        let path = given.canonicalize()?;
        let found = fs::metadata(&path)?;
        let is_folder = found.is_dir();
        let folder = match path.parent() {
            Some(parent) if !is_folder => fs::metadata(parent)?,
            _ => found,
        };
        Ok(Self {
            is_folder,
            folder: Identity::of(&folder),
            links: links(&std::path::absolute(given)?),
            path,
        })
    }

    fn is_folder(&self) -> bool {
        self.is_folder
    }

    /// The paths that lead elsewhere when something else is put there: the symlinks on the way, and it itself.
    pub(super) fn hinges(&self) -> impl Iterator<Item = &Path> {
        let links = self.links.iter().map(PathBuf::as_path);
        links.chain([self.path.as_path()])
    }
}

// === impl Identity ===

impl Identity {
    fn of(folder: &fs::Metadata) -> Self {
        Self {
            device: folder.dev(),
            inode: folder.ino(),
            born: folder.created().ok(),
        }
    }
}

/// The symlinks on the way of an absolute path, each with its own folder resolved.
fn links(path: &Path) -> Vec<PathBuf> {
    let mut links = Vec::new();
    let mut path = path.to_owned();
    while links.len() < LINKS_MAX {
        let Some((link, target)) = first_link(&path) else {
            break;
        };
        let rest = path.strip_prefix(&link).map(Path::to_owned);
        let folder = link.parent().unwrap_or_else(|| Path::new("/"));
        // An empty rest would end the path with a slash.
        path = match rest {
            Ok(rest) if !rest.as_os_str().is_empty() => folder.join(target).join(rest),
            _ => folder.join(target),
        };
        links.push(link);
    }
    links
}

fn first_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut so_far = PathBuf::new();
    for part in path.components() {
        so_far.push(part);
        if let Ok(target) = fs::read_link(&so_far) {
            let folder = so_far.parent()?.canonicalize().ok()?;
            let link = folder.join(so_far.file_name()?);
            // With `..` in it a link may not be below what its path says.
            return (link == so_far).then_some((link, target));
        }
    }
    None
}

/// Nothing in the name of a file may move the cursor of the terminal on which it is shown, or begin a line of the log.
fn harmless(text: &str) -> String {
    text.chars()
        .map(|char| match char.is_control() {
            true => char::REPLACEMENT_CHARACTER,
            false => char,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn knows_every_symlink_on_the_way() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("releases/1/app")).unwrap();
        symlink("releases/1", root.join("current")).unwrap();
        symlink("current", root.join("live")).unwrap();
        let place = Place::find(&root.join("live/app")).unwrap();
        assert_eq!(place.path, root.join("releases/1/app"));
        let hinges: Vec<_> = place.hinges().collect();
        let wanted = ["live", "current", "releases/1/app"].map(|name| root.join(name));
        assert_eq!(hinges, wanted);
        assert_eq!(place, Place::find(&root.join("live/app")).unwrap());
        fs::create_dir_all(root.join("releases/2/app")).unwrap();
        fs::remove_file(root.join("current")).unwrap();
        assert!(Place::find(&root.join("live/app")).is_err());
        symlink("releases/2", root.join("current")).unwrap();
        assert_ne!(place, Place::find(&root.join("live/app")).unwrap());
    }

    #[test]
    fn another_folder_of_the_same_name_is_another_place_and_a_saved_file_is_not() {
        let temporary = tempfile::tempdir().unwrap();
        let path = |name: &str| temporary.path().join(name);
        fs::create_dir(path("app")).unwrap();
        fs::write(path("app.py"), "1").unwrap();
        let find = |name: &str| Place::find(&path(name)).unwrap();
        let before = (find("app"), find("app.py"));
        fs::rename(path("app"), path("old")).unwrap();
        fs::create_dir(path("app")).unwrap();
        fs::write(path("new"), "2").unwrap();
        fs::rename(path("new"), path("app.py")).unwrap();
        assert_ne!(before.0, find("app"));
        assert_eq!(before.1, find("app.py"));
    }

    #[test]
    fn a_file_in_another_folder_of_the_same_name_is_another_place() {
        let temporary = tempfile::tempdir().unwrap();
        let path = |name: &str| temporary.path().join(name);
        for folder in ["conf", "new"] {
            fs::create_dir(path(folder)).unwrap();
            fs::write(path(folder).join("app.toml"), "1").unwrap();
        }
        let find = || Place::find(&path("conf/app.toml")).unwrap();
        let before = find();
        fs::rename(path("conf"), path("old")).unwrap();
        fs::rename(path("new"), path("conf")).unwrap();
        assert_ne!(before, find());
    }

    #[test]
    fn a_folder_that_was_made_anew_is_another_place_though_it_got_the_same_inode() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("app");
        fs::create_dir(&path).unwrap();
        let (before, first) = (Place::find(&path).unwrap(), path.metadata().unwrap());
        let Ok(born) = first.created() else {
            return;
        };
        // The clock of a file system ticks every few milliseconds.
        let again = (0..1000).any(|_| {
            fs::remove_dir(&path).unwrap();
            fs::create_dir(&path).unwrap();
            let now = path.metadata().unwrap();
            now.ino() == first.ino() && now.created().unwrap() != born
        });
        if again {
            assert_ne!(before, Place::find(&path).unwrap());
        }
    }

    #[test]
    fn links_in_a_circle_end() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().canonicalize().unwrap();
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        assert_eq!(links(&root.join("a")).len(), LINKS_MAX);
    }

    #[test]
    fn files_are_called_as_the_root_was_written() {
        let temporary = tempfile::tempdir().unwrap();
        let root = Root::new(temporary.path(), &[]);
        let path = temporary.path().canonicalize().unwrap().join("lib/a\nb.py");
        let shown = temporary.path().join("lib/a\u{fffd}b.py");
        assert_eq!(root.shown(&path), shown.display().to_string());
        let here = Root::new(Path::new("."), &[]);
        let place = here.place.as_ref().unwrap().path.clone();
        assert_eq!(here.shown(&place.join("src/lib.rs")), "src/lib.rs");
        assert_eq!(here.shown(&place), ".");
    }
}
