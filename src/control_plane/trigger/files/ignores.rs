//! Which files do not matter: what `ignore` says, what editors, tools and version control leave behind, and what
//! `.gitignore` files name. Reads those files, and watches nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// What is no part of an app, as the lines of a `.gitignore`.
const USUAL: &str = "
# Version control.
.git
.hg/
.svn/
.bzr/
.jj/
_darcs/
CVS/
.gitattributes
.gitmodules
# Editors: swap files, backups, locks, and what they write before they rename it.
*~
.*.sw?
*.swp
*.swo
4913
\\#*#
.#*
*___jb_tmp___
*___jb_old___
.idea/
.vscode/
.*.kate-swp
.~lock.*#
.goutputstream-*
*.bak
*.orig
*.tmp
# Caches, and what is made out of the sources.
__pycache__/
*.py[cod]
.pytest_cache/
.mypy_cache/
.ruff_cache/
.hypothesis/
.tox/
.nox/
.venv/
venv/
*.egg-info/
node_modules/
.npm/
.yarn/
.pnpm-store/
.parcel-cache/
.turbo/
.sass-cache/
.cache/
.gradle/
.bundle/
target/
# What an app itself writes while it runs.
*.log
*.pid
*.sock
*.sqlite
*.sqlite3
*.db
*-journal
*-wal
*-shm
# File systems and desktops.
.DS_Store
Thumbs.db
.nfs*
.fuse_hidden*
";

/// The file of a folder that says what is ignored in it.
pub(super) const GITIGNORE: &str = ".gitignore";

/// What is ignored below one folder.
#[derive(Debug)]
pub(super) struct Ignores {
    own: Gitignore,
    usual: Gitignore,
    /// The `.gitignore` of each folder that has one.
    inside: BTreeMap<PathBuf, Gitignore>,
    /// Those of the folders above, up to the one of the repository; the nearest last.
    above: Vec<Gitignore>,
}

/// A pattern of `ignore`, if it is one.
///
/// # Errors
///
/// It is no pattern of a `.gitignore`, or matches nothing.
pub fn pattern(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.starts_with('#') {
        return Err("that is an empty line or a comment, which ignores nothing".to_owned());
    }
    let mut builder = GitignoreBuilder::new("/");
    builder.allow_unclosed_class(false);
    match builder.add_line(None, text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("a line of a .gitignore: {error}")),
    }
}

// === impl Ignores ===

impl Ignores {
    /// Below this folder, whose path is resolved.
    pub(super) fn new(folder: &Path, own: &[String]) -> Self {
        Self {
            own: lines(folder, own.iter().map(String::as_str)),
            usual: lines(folder, USUAL.lines()),
            inside: BTreeMap::new(),
            above: above(folder),
        }
    }

    /// Reads what this folder says, unless it was read before.
    pub(super) fn learn(&mut self, folder: &Path) {
        if self.inside.contains_key(folder) {
            return;
        }
        if let Some(found) = file(folder, &folder.join(GITIGNORE)) {
            self.inside.insert(folder.to_owned(), found);
        }
    }

    /// Whether this path does not matter. What is below an ignored folder is not asked for.
    pub(super) fn ignores(&self, path: &Path, is_folder: bool) -> bool {
        match self.own.matched(path, is_folder) {
            Match::Ignore(_) => return true,
            Match::Whitelist(_) => return false,
            Match::None => {}
        }
        if self.usual.matched(path, is_folder).is_ignore() {
            return true;
        }
        let folders = path.ancestors().skip(1);
        let inside = folders.filter_map(|folder| self.inside.get(folder));
        inside
            .chain(self.above.iter().rev())
            .map(|said| said.matched(path, is_folder))
            .find(|said| !said.is_none())
            .is_some_and(|said| said.is_ignore())
    }
}

/// What the repository around a folder says, unless it ignores the folder itself: then naming it counts for more.
fn above(folder: &Path) -> Vec<Gitignore> {
    let mut ancestors = folder.ancestors();
    let Some(repository) = ancestors.find(|above| above.join(".git").exists()) else {
        return Vec::new();
    };
    let mut said: Vec<_> = folder
        .ancestors()
        .skip(1)
        .take_while(|above| above.starts_with(repository))
        .filter_map(|above| file(above, &above.join(GITIGNORE)))
        .collect();
    said.extend(file(repository, &repository.join(".git/info/exclude")));
    said.reverse();
    let ignored = said.iter().any(|said| {
        folder != said.path() && said.matched_path_or_any_parents(folder, true).is_ignore()
    });
    if ignored { Vec::new() } else { said }
}

/// The patterns of a file; none if there is no file or nothing in it. A bad line is left out, as git does.
fn file(folder: &Path, path: &Path) -> Option<Gitignore> {
    if !path.is_file() {
        return None;
    }
    let mut builder = GitignoreBuilder::new(folder);
    if let Some(error) = builder.add(path) {
        tracing::debug!(path = %path.display(), %error, "cannot read all of it");
    }
    builder.build().ok().filter(|found| !found.is_empty())
}

fn lines<'l>(folder: &Path, lines: impl Iterator<Item = &'l str>) -> Gitignore {
    let mut builder = GitignoreBuilder::new(folder);
    for line in lines {
        // Those of the configuration were checked when it was read.
        let _ = builder.add_line(None, line);
    }
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[track_caller]
    fn check(ignores: &Ignores, folder: &Path, ignored: &str, kept: &str) {
        let is = |name: &str| {
            let path = folder.join(name.trim_end_matches('/'));
            ignores.ignores(&path, name.ends_with('/'))
        };
        for name in ignored.split_whitespace() {
            assert!(is(name), "{name} matters");
        }
        for name in kept.split_whitespace() {
            assert!(!is(name), "{name} does not matter");
        }
    }

    #[test]
    fn the_usual_files_of_editors_tools_and_version_control() {
        let folder = Path::new("/srv/app");
        check(
            &Ignores::new(folder, &[]),
            folder,
            ".git/ .git .app.py.swp .app.py.swx app.py~ 4913 lib/4913 #app.py# .#app.py __pycache__/ app.pyc \
             node_modules/ lib/node_modules/ target/ app.py___jb_tmp___ .idea/ app.log db.sqlite3 db.sqlite3-journal",
            "app.py lib/ targets.py target 49130 static/app.css .env a#b pip.conf",
        );
    }

    #[test]
    fn the_own_list_beats_all_others() {
        let folder = Path::new("/srv/app");
        let own = ["*.md", "/static/", "!keep.log"].map(str::to_owned);
        check(
            &Ignores::new(folder, &own),
            folder,
            "README.md docs/a.md static/ other.log",
            "keep.log lib/static/ app.py",
        );
    }

    #[test]
    fn gitignore_files_count_where_they_stand() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().canonicalize().unwrap();
        let (app, lib) = (root.join("app"), root.join("app/lib"));
        fs::create_dir_all(&lib).unwrap();
        fs::create_dir_all(root.join(".git/info")).unwrap();
        fs::write(root.join(".git/info/exclude"), "excluded\n").unwrap();
        fs::write(root.join(GITIGNORE), "*.gen\n").unwrap();
        fs::write(app.join(GITIGNORE), "/dist/\n*.css\n").unwrap();
        fs::write(lib.join(GITIGNORE), "!keep.css\n").unwrap();
        let mut ignores = Ignores::new(&app, &[]);
        ignores.learn(&app);
        ignores.learn(&lib);
        check(
            &ignores,
            &app,
            "dist/ a.css lib/a.css lib/a.gen excluded keep.css",
            "lib/dist/ lib/keep.css lib/a.py",
        );
    }

    #[test]
    fn a_folder_that_is_named_is_watched_even_if_the_repository_ignores_it() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("dist")).unwrap();
        fs::create_dir(root.join(".git")).unwrap();
        fs::write(root.join(GITIGNORE), "dist/\n*.js\n").unwrap();
        let dist = root.join("dist");
        check(&Ignores::new(&dist, &[]), &dist, "", "app.js");
    }

    #[test]
    fn what_is_no_pattern_is_said() {
        assert!(pattern("*.md").is_ok());
        for wrong in ["", "  ", "# all", "a[b", "{a"] {
            assert!(pattern(wrong).is_err(), "{wrong:?}");
        }
    }
}
