//! The pages of an operator, which stand in for those of hitless: read from a folder whole, or not at all.
//!
//! They are looked at only when hitless answers by itself, and never change an answer of the app.

mod template;

pub(super) use self::template::{Format, Values};

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use rustix::fs::OFlags;

use self::template::{Mistake, Template};
use crate::telemetry::traffic::Reason;

/// The largest page, in bytes.
const BYTES_MAX: usize = 1 << 20;

/// How many entries a folder of pages may have.
const ENTRIES_MAX: usize = 1_000;

/// How many files of a folder are complained about at once, and how many mistakes of each.
const REJECTED_MAX: usize = 20;

/// The pages by what they are for; none at all is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pages(BTreeMap<(Scope, Format), Template>);

/// The pages that are in use, which all workers read and a reload replaces.
#[derive(Debug, Default)]
pub struct CurrentPages(ArcSwap<Pages>);

/// What was found in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The pages; to be used only if no file was rejected.
    pub pages: Pages,
    /// The files that are no pages and were surely meant to be.
    pub rejected: Vec<Rejected>,
    /// The files that are pages and are never used.
    pub unused: Vec<Rejected>,
}

/// A file, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The file.
    pub path: PathBuf,
    /// What is in it, as far as that is known: what the spans of the faults speak of.
    pub text: String,
    /// At least one.
    pub faults: Vec<Fault>,
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where, in bytes; none if it is about the file as a whole.
    pub span: Option<Range<usize>>,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// What a page is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    /// One status.
    Status(u16),
    /// All those that begin with this digit.
    Class(u16),
}

// === impl Pages ===

impl Pages {
    /// Reads every page of a folder. Files that nobody can have meant to be pages are passed over: hidden ones, backups,
    /// and those of another kind.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub fn read(folder: &Path) -> io::Result<Reading> {
        let mut reading = Reading::default();
        for name in names(folder)? {
            if reading.rejected.len() >= REJECTED_MAX {
                break;
            }
            reading.add(folder.join(&name), &name);
        }
        Ok(reading)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The page for this status, filled in; none: there is none for it. One for the very status comes before one for all
    /// of its class.
    pub(super) fn fill(&self, format: Format, values: &Values<'_>) -> Option<Bytes> {
        let scopes = [
            Scope::Status(values.status),
            Scope::Class(values.status / 100),
        ];
        let mut found = scopes.iter().map(|scope| self.0.get(&(*scope, format)));
        found.find_map(|page| page).map(|page| page.fill(values))
    }
}

/// The names of what may be a page, in order, so that problems come in the same order each time.
fn names(folder: &Path) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for (count, entry) in fs::read_dir(folder)?.enumerate() {
        if count >= ENTRIES_MAX {
            let much = format!("it has more than {ENTRIES_MAX} entries: it is no folder of pages");
            return Err(io::Error::other(much));
        }
        let name = entry?.file_name().to_string_lossy().into_owned();
        if is_meant(&name) {
            names.insert(name);
        }
    }
    Ok(names)
}

/// Whether whoever put a file of this name there meant a page.
fn is_meant(name: &str) -> bool {
    let folded = name.to_ascii_lowercase();
    let extension = Path::new(&folded).extension();
    let is_page = extension.is_some_and(|extension| {
        ["html", "htm", "json"]
            .iter()
            .any(|known| extension == *known)
    });
    let is_aside = name.starts_with('.') || name.ends_with('~');
    !is_aside && (is_page || name.starts_with(|char: char| char.is_ascii_digit()))
}

/// What a page of this name is for.
fn meaning(name: &str) -> Option<(Scope, Format)> {
    let (scope, format) = name.split_once('.')?;
    let format = match format {
        "html" => Format::Html,
        "json" => Format::Json,
        _ => return None,
    };
    let scope = match scope {
        "4xx" => Scope::Class(4),
        "5xx" => Scope::Class(5),
        _ if scope.len() == 3 => Scope::Status(scope.parse().ok()?),
        _ => return None,
    };
    let is_error = match scope {
        Scope::Status(status) => (400..600).contains(&status),
        Scope::Class(_) => true,
    };
    is_error.then_some((scope, format))
}

/// The bytes of a page. Never waits for somebody who writes, as a named pipe would have it.
fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let nonblocking =
        i32::try_from(OFlags::NONBLOCK.bits()).expect("flags fit into what open takes");
    let read = || {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(nonblocking)
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let mut bytes = Vec::new();
        file.take(BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| format!("the page cannot be read: {error}"))?;
    match bytes.len() > BYTES_MAX {
        true => Err("the page is larger than 1MiB".to_owned()),
        false => Ok(bytes),
    }
}

/// Every status that hitless answers with by itself.
fn statuses() -> BTreeSet<u16> {
    let own = Reason::ALL.map(|reason| super::status(reason).as_u16());
    own.into_iter().collect()
}

// === impl Reading ===

impl Reading {
    fn add(&mut self, path: PathBuf, name: &str) {
        let Some((scope, format)) = meaning(name) else {
            let rejected = Rejected::whole(path, format!("{name} is no name of a page"));
            self.rejected.push(rejected.with_help(&names_help(name)));
            return;
        };
        match page(&path, format) {
            Ok(page) => {
                self.pages.0.insert((scope, format), page);
                self.unused.extend(unused(path, scope));
            }
            Err(rejected) => self.rejected.push(rejected),
        }
    }
}

fn page(path: &Path, format: Format) -> Result<Template, Rejected> {
    let bytes = bytes(path).map_err(|message| Rejected::whole(path.to_owned(), message))?;
    let text = String::from_utf8(bytes).map_err(|error| no_utf8(path, &error))?;
    Template::parse(&text, format).map_err(|mut mistakes| {
        mistakes.truncate(REJECTED_MAX);
        Rejected {
            path: path.to_owned(),
            faults: mistakes.into_iter().map(Fault::from).collect(),
            text,
        }
    })
}

fn no_utf8(path: &Path, error: &std::string::FromUtf8Error) -> Rejected {
    let at = error.utf8_error().valid_up_to();
    Rejected {
        path: path.to_owned(),
        text: String::from_utf8_lossy(error.as_bytes()).into_owned(),
        faults: vec![Fault {
            span: Some(at..at + char::REPLACEMENT_CHARACTER.len_utf8()),
            message: "the page is not UTF-8".to_owned(),
            help: Some("save it as UTF-8: that is what its clients are told".to_owned()),
        }],
    }
}

/// What to do about a wrong name.
fn names_help(name: &str) -> String {
    let folded = name.to_ascii_lowercase();
    match meaning(&folded) {
        Some(_) => format!("did you mean {folded}?"),
        None => "a page is called by a status or a class of them: 502.html, 5xx.html, 4xx.json"
            .to_owned(),
    }
}

fn unused(path: PathBuf, scope: Scope) -> Option<Rejected> {
    let Scope::Status(status) = scope else {
        return None;
    };
    let own = statuses();
    if own.contains(&status) {
        return None;
    }
    let own: Vec<_> = own.iter().map(u16::to_string).collect();
    let help = format!(
        "it answers with {}; pages of the app are passed on as they are",
        own.join(", ")
    );
    let message =
        format!("hitless never answers with {status} by itself, so this page is not used");
    Some(Rejected::whole(path, message).with_help(&help))
}

// === impl Rejected, Fault ===

impl Rejected {
    fn whole(path: PathBuf, message: String) -> Self {
        let fault = Fault {
            span: None,
            message,
            help: None,
        };
        Self {
            path,
            text: String::new(),
            faults: vec![fault],
        }
    }

    fn with_help(mut self, help: &str) -> Self {
        for fault in &mut self.faults {
            fault.help = Some(help.to_owned());
        }
        self
    }
}

impl From<Mistake> for Fault {
    fn from(mistake: Mistake) -> Self {
        Self {
            span: Some(mistake.span),
            message: mistake.message,
            help: Some(mistake.help),
        }
    }
}

// === impl CurrentPages ===

impl CurrentPages {
    /// With these to begin with.
    pub fn new(pages: Arc<Pages>) -> Self {
        Self(ArcSwap::new(pages))
    }

    /// From now on answers are made of these.
    pub fn replace(&self, pages: Arc<Pages>) {
        self.0.store(pages);
    }

    /// The page for this status, filled in, if there is one.
    pub(super) fn fill(&self, format: Format, values: &Values<'_>) -> Option<Bytes> {
        self.0.load().fill(format, values)
    }
}

#[cfg(test)]
mod tests;
