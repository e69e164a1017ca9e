//! How changes are seen: the kernel tells of them, or, where it does not, the files are looked at again and again.

use std::convert::Infallible;
use std::fmt;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::time::Instant;

use super::super::events::{Ear, Inbox, Interest};
use super::super::root::Root;
use super::super::settle::{Settling, What};
use super::super::tree::{self, Budget, ENTRIES_MAX, Stamp, Stamps};

/// How often files are looked at; less often where one look takes more than a tenth of that.
const POLL_EVERY: Duration = Duration::from_secs(1);
const POLL_SHARE: u32 = 10;
/// How soon again while changes are under way.
const POLL_SOON: Duration = Duration::from_millis(100);

/// What the kernel's watcher is reached by.
pub(super) type Kernel = Box<dyn Watcher + Send>;

/// Makes one.
pub(super) type Open = fn(Ear) -> notify::Result<Kernel>;

/// The kernel's own.
pub(super) fn kernel(ear: Ear) -> notify::Result<Kernel> {
    let config = notify::Config::default().with_follow_symlinks(false);
    Ok(Box::new(RecommendedWatcher::new(ear, config)?))
}

/// How an app's files are seen.
pub(super) enum Eyes {
    /// Not at all: nothing is to be watched.
    Closed,
    /// The kernel tells. Each folder is watched by itself, so that none is that does not matter.
    Listening(Kernel),
    /// They are looked at.
    Looking {
        /// As they were the last time.
        stamps: Vec<Stamps>,
        next: Instant,
        soon: Instant,
    },
}

/// What was found in a folder that is new.
#[derive(Debug, Default)]
pub(super) struct Entered {
    pub(super) files: Vec<PathBuf>,
    /// Why the kernel does not tell of all of it.
    pub(super) blinded: Option<String>,
}

// === impl Eyes ===

impl Eyes {
    /// Watches what is at these roots, with what is to be said about how.
    pub(super) fn open(
        inbox: &Arc<Inbox>,
        roots: &mut [Root],
        poll: bool,
        open: Open,
    ) -> (Self, Option<String>) {
        inbox.mind(interest(roots));
        if roots.is_empty() {
            return (Self::Closed, None);
        }
        if poll {
            let remark = "files are looked at every second (`poll = true`)";
            return (Self::look_instead(roots), Some(remark.to_owned()));
        }
        if let Some(remote) = roots.iter().find_map(silent) {
            return (Self::look_instead(roots), Some(remote));
        }
        let mut budget = Budget::full();
        let listening = open(Ear(Arc::clone(inbox))).and_then(|mut kernel| {
            listen(&mut *kernel, roots, &mut budget)?;
            Ok(kernel)
        });
        match listening {
            Ok(kernel) => (Self::Listening(kernel), spent(&budget)),
            Err(error) => (Self::look_instead(roots), Some(why(&error))),
        }
    }

    /// Looks at the files from now on.
    pub(super) fn look_instead(roots: &mut [Root]) -> Self {
        let (stamps, took) = look(roots);
        let now = Instant::now();
        Self::Looking {
            stamps,
            next: now + POLL_EVERY.max(took * POLL_SHARE),
            soon: now + POLL_SOON.max(took),
        }
    }

    /// When the files are to be looked at; none: no need to.
    pub(super) fn due(&self, settling: &Settling) -> Option<Instant> {
        match self {
            Self::Looking { soon, next, .. } if settling.is_pending() => Some(*soon.min(next)),
            Self::Looking { next, .. } => Some(*next),
            Self::Closed | Self::Listening(_) => None,
        }
    }

    /// What changed since the last look: the number of the root, the path, and what became of it.
    pub(super) fn look(&mut self, roots: &mut [Root]) -> Vec<(usize, PathBuf, What)> {
        let Self::Looking { stamps: before, .. } = self else {
            return Vec::new();
        };
        let before = std::mem::take(before);
        *self = Self::look_instead(roots);
        let Self::Looking { stamps, .. } = self else {
            return Vec::new();
        };
        let pairs = before.iter().zip(stamps.iter()).enumerate();
        pairs
            .flat_map(|(index, (before, after))| {
                differences(before, after).map(move |(path, what)| (index, path, what))
            })
            .collect()
    }

    /// There is a new folder below this root.
    pub(super) fn enter(&mut self, root: &mut Root, folder: &Path) -> Entered {
        let mut entered = Entered::default();
        let (Self::Listening(kernel), Some(ignores)) = (self, &mut root.ignores) else {
            return entered;
        };
        let mut budget = Budget::full();
        let watch = |folder: &Path| watch(&mut **kernel, folder);
        let files = &mut entered.files;
        let walked = tree::walk(folder, ignores, &mut budget, watch, |file| files.push(file));
        entered.blinded = walked.err().map(|error| why(&error));
        entered
    }
}

impl fmt::Debug for Eyes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "Closed",
            Self::Listening(_) => "Listening",
            Self::Looking { .. } => "Looking",
        })
    }
}

fn interest(roots: &[Root]) -> Interest {
    let places = || roots.iter().filter_map(|root| root.place.as_ref());
    Interest {
        exact: places()
            .flat_map(|place| place.hinges().map(Path::to_owned))
            .collect(),
        below: roots
            .iter()
            .filter_map(|root| root.folder().map(Path::to_owned))
            .collect(),
    }
}

/// Watches every folder that matters, and those in which something would lead a path elsewhere.
fn listen(kernel: &mut dyn Watcher, roots: &mut [Root], budget: &mut Budget) -> notify::Result<()> {
    for root in roots {
        let Some(place) = root.place.clone() else {
            continue;
        };
        for hinge in place.hinges() {
            if let Some(folder) = hinge.parent() {
                watch(kernel, folder)?;
            }
        }
        if let Some(ignores) = &mut root.ignores {
            let enter = |folder: &Path| watch(kernel, folder);
            tree::walk(&place.path, ignores, budget, enter, drop)?;
        }
    }
    Ok(())
}

/// A folder that is gone meanwhile, or that may not be read, has nothing to tell.
fn watch(kernel: &mut dyn Watcher, folder: &Path) -> notify::Result<()> {
    match kernel.watch(folder, RecursiveMode::NonRecursive) {
        Err(error) if matches!(error.kind, ErrorKind::PathNotFound) => Ok(()),
        Err(error) => match &error.kind {
            ErrorKind::Io(io)
                if matches!(
                    io.kind(),
                    std::io::ErrorKind::NotFound
                        | std::io::ErrorKind::PermissionDenied
                        | std::io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(())
            }
            _ => Err(error),
        },
        Ok(()) => Ok(()),
    }
}

/// Why the files are looked at, in words that say what to do.
fn why(error: &notify::Error) -> String {
    let (what, remedy) = match &error.kind {
        ErrorKind::MaxFilesWatch => (
            "the kernel's limit of watched folders is reached".to_owned(),
            "raise the sysctl fs.inotify.max_user_watches, or ignore folders",
        ),
        ErrorKind::Io(io) if io.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => {
            (
                "the kernel's limit of watchers is reached".to_owned(),
                "raise the sysctl fs.inotify.max_user_instances",
            )
        }
        _ => (
            format!("the kernel does not tell of changes: {error}"),
            "say `poll = true` if that is to be so",
        ),
    };
    format!("{what}, so files are looked at every second ({remedy})")
}

fn spent(budget: &Budget) -> Option<String> {
    budget.is_spent().then(|| {
        format!("there are more than {ENTRIES_MAX} files and folders; what is beyond is not watched: ignore some")
    })
}

// === looking ===

fn look(roots: &mut [Root]) -> (Vec<Stamps>, Duration) {
    let began = Instant::now();
    let mut budget = Budget::full();
    let stamps = roots.iter_mut().map(|root| stamps(root, &mut budget));
    (stamps.collect(), began.elapsed())
}

fn stamps(root: &mut Root, budget: &mut Budget) -> Stamps {
    let mut stamps = Stamps::new();
    let mut put = |path: PathBuf| {
        if let Some(stamp) = Stamp::of(&path) {
            stamps.insert(path, stamp);
        }
    };
    if let Some(file) = root.file() {
        put(file.to_owned());
    }
    let folder = root.folder().map(Path::to_owned);
    if let (Some(folder), Some(ignores)) = (folder, &mut root.ignores) {
        let walked: Result<(), Infallible> = tree::walk(&folder, ignores, budget, |_| Ok(()), put);
        let Ok(()) = walked;
    }
    stamps
}

fn differences<'s>(
    before: &'s Stamps,
    after: &'s Stamps,
) -> impl Iterator<Item = (PathBuf, What)> + 's {
    let now = after
        .iter()
        .filter_map(|(path, stamp)| match before.get(path) {
            None => Some((path.clone(), What::Came)),
            Some(known) if known != stamp => Some((path.clone(), What::Written)),
            Some(_) => None,
        });
    let gone = before.keys().filter(|path| !after.contains_key(*path));
    now.chain(gone.map(|path| (path.clone(), What::Gone)))
}

/// Why the kernel would not tell of changes there: they may be made on another machine.
fn silent(root: &Root) -> Option<String> {
    const SILENT: [(u64, &str); 6] = [
        (0x6969, "NFS"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB"),
        (0x517b, "SMB"),
        (0x0102_1997, "9P"),
        (0x6573_5546, "FUSE"),
    ];
    let place = root.place.as_ref()?;
    let file = std::fs::File::open(&place.path).ok()?;
    let found = rustix::fs::fstatfs(file.as_fd()).ok()?;
    let magic = u64::try_from(found.f_type).ok()? & 0xffff_ffff;
    let (_, name) = SILENT.iter().find(|(known, _)| *known == magic)?;
    let given = Root::called(&root.given);
    Some(format!(
        "{given} is on {name}, where the kernel does not tell of all changes, so files are looked at every second"
    ))
}
