//! Where clients and scrapers come in, judged together: no two of these places may be one.

use std::ops::Range;

use toml::Spanned;

use super::{known, pick};
use crate::config::kind::Entry;
use crate::config::{App, Config, Overrides, Problem};
use crate::data_plane::listen::{Access, Listen, ListenAddress};
use crate::generation::AppName;

/// A value, and where in the file it stands; none for a default and for what flags say.
#[derive(Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) span: Option<Range<usize>>,
}

/// Where clients come in, with the places of the names of apps.
pub(super) type WantedListener = Entry;

type Listed = Option<Spanned<Vec<Spanned<Entry>>>>;

impl Entry {
    fn of(address: ListenAddress) -> Self {
        Self {
            address,
            access: Access::default(),
            apps: Vec::new(),
        }
    }

    /// Whether requests that come in there may be for this app.
    pub(super) fn serves(&self, app: &App) -> bool {
        let is = |name: &Spanned<String>| name.get_ref() == app.name.as_str();
        self.apps.is_empty() || self.apps.iter().any(is)
    }
}

impl From<Entry> for Listen {
    fn from(entry: Entry) -> Self {
        let apps = entry.apps.iter().map(|app| AppName::new(app.get_ref()));
        Self {
            apps: apps.collect(),
            address: entry.address,
            access: entry.access,
        }
    }
}

/// Where clients and scrapers come in. A problem where two of these places are one.
pub(super) fn addresses(
    listen: Listed,
    admin: Option<Spanned<Option<ListenAddress>>>,
    overrides: &Overrides,
    problems: &mut Vec<Problem>,
) -> (Vec<Placed<WantedListener>>, Option<ListenAddress>) {
    let listen = listeners(listen, overrides);
    let by_default = overrides.admin.is_none() && admin.is_none();
    let span = admin
        .as_ref()
        .map(Spanned::span)
        .filter(|_| overrides.admin.is_none());
    let default = ListenAddress::Tcp(([127, 0, 0, 1], 9900).into());
    let admin = pick(overrides.admin.as_ref(), admin, Some(default));
    for (index, later) in listen.iter().enumerate() {
        if let Some(earlier) = listen[..index]
            .iter()
            .find(|one| one.value.address.overlaps(&later.value.address))
        {
            problems.push(overlap(&earlier.value.address, later));
        }
    }
    if let Some(value) = &admin
        && known(problems, &["admin"])
        && let Some(one) = listen.iter().find(|one| one.value.address.overlaps(value))
    {
        let message = format!(
            "{} cannot be listened on beside the admin address {value}",
            one.value.address
        );
        let help = match by_default {
            true => r#"that is the default of `admin`: choose another one, or "" for none"#,
            false => EACH,
        };
        problems.push(Problem::new(span.or_else(|| one.span.clone()), message).help(help));
    }
    (listen, admin)
}

const EACH: &str = "each needs an address of its own; `:PORT` takes that port of every address";

fn overlap(earlier: &ListenAddress, later: &Placed<WantedListener>) -> Problem {
    let address = &later.value.address;
    let message = match address == earlier {
        true => format!("{earlier} is to be listened on twice"),
        false => format!("{earlier} and {address} cannot both be listened on"),
    };
    Problem::new(later.span.clone(), message).help(EACH)
}

fn listeners(listen: Listed, overrides: &Overrides) -> Vec<Placed<WantedListener>> {
    let unplaced = |address| Placed {
        value: Entry::of(address),
        span: None,
    };
    if !overrides.listen.is_empty() {
        return overrides.listen.iter().cloned().map(unplaced).collect();
    }
    let Some(list) = listen else {
        return vec![unplaced(ListenAddress::Tcp(([127, 0, 0, 1], 8080).into()))];
    };
    list.into_inner()
        .into_iter()
        .map(|one| Placed {
            span: Some(one.span()),
            value: one.into_inner(),
        })
        .collect()
}

/// The control socket is nobody else's.
pub(super) fn beside_control(
    config: &Config,
    span: Option<Range<usize>>,
    problems: &mut Vec<Problem>,
) {
    let Some(control) = config.control.clone().map(ListenAddress::Unix) else {
        return;
    };
    let listen = config.listen.iter().map(|one| &one.address);
    if listen.chain(&config.admin).any(|one| *one == control) {
        problems.push(
            Problem::new(span, format!("{control} is to be listened on as well"))
                .help("the control socket needs a path of its own"),
        );
    }
}
