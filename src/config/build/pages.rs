//! `[errors]`: the pages themselves, so that a mistake in one of them is a mistake of the configuration.

use std::sync::Arc;

use crate::config::problem::Source;
use crate::config::{Problem, raw};
use crate::data_plane::pages::{Pages, Rejected};
use crate::paths;

/// The pages of the folder; none without one.
pub(super) fn pages(
    raw: raw::Errors,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) -> Arc<Pages> {
    let Some(folder) = raw.folder else {
        return Arc::default();
    };
    let (span, path) = (folder.span(), folder.into_inner());
    let reading = match Pages::read(&path) {
        Ok(reading) => reading,
        Err(error) => {
            let whole = paths::whole(&path);
            let message = format!(
                "`errors.folder` {} cannot be read: {error}",
                whole.display()
            );
            let help =
                "name a folder with pages such as 502.html and 5xx.json, or leave the key out";
            problems.push(Problem::new(Some(span), message).help(help));
            return Arc::default();
        }
    };
    if reading.rejected.is_empty() && reading.pages.is_empty() {
        let message = format!("`errors.folder` {} has no page in it", path.display());
        let help = "a page is called by a status or a class of them: 502.html, 5xx.json";
        warnings.push(Problem::new(Some(span), message).help(help));
    }
    problems.extend(reading.rejected.into_iter().flat_map(told));
    warnings.extend(reading.unused.into_iter().flat_map(told));
    Arc::new(reading.pages)
}

/// The faults of a file as problems in it.
fn told(rejected: Rejected) -> impl Iterator<Item = Problem> {
    let file = Arc::new(Source {
        path: rejected.path,
        text: rejected.text,
    });
    rejected.faults.into_iter().map(move |fault| {
        let problem = Problem::new(fault.span, fault.message).in_file(&file);
        match fault.help {
            Some(help) => problem.help(help),
            None => problem,
        }
    })
}
