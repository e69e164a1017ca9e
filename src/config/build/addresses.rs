//! Where clients and scrapers come in, judged together: no two of these places may be one.

use std::ops::Range;

use toml::Spanned;

use super::{known, pick};
use crate::config::{Config, Overrides, Problem};
use crate::data_plane::listen::ListenAddress;

/// A value, and where in the file it stands; none for a default and for what flags say.
struct Placed<T> {
    value: T,
    span: Option<Range<usize>>,
}

type Listed = Option<Spanned<Vec<Spanned<ListenAddress>>>>;

/// Where clients and scrapers come in, unless two of these places are one.
pub(super) fn addresses(
    listen: Listed,
    admin: Option<Spanned<Option<ListenAddress>>>,
    overrides: &Overrides,
    problems: &mut Vec<Problem>,
) -> (Vec<ListenAddress>, Option<ListenAddress>) {
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
            .find(|one| one.value.overlaps(&later.value))
        {
            problems.push(overlap(&earlier.value, later));
        }
    }
    if let Some(value) = &admin
        && known(problems, &["admin"])
        && let Some(one) = listen.iter().find(|one| one.value.overlaps(value))
    {
        let message = format!(
            "{} cannot be listened on beside the admin address {value}",
            one.value
        );
        let help = match by_default {
            true => r#"that is the default of `admin`: choose another one, or "" for none"#,
            false => EACH,
        };
        problems.push(Problem::new(span.or_else(|| one.span.clone()), message).help(help));
    }
    (listen.into_iter().map(|one| one.value).collect(), admin)
}

const EACH: &str = "each needs an address of its own; `:PORT` takes that port of every address";

fn overlap(earlier: &ListenAddress, later: &Placed<ListenAddress>) -> Problem {
    let message = match later.value == *earlier {
        true => format!("{earlier} is to be listened on twice"),
        false => format!("{earlier} and {} cannot both be listened on", later.value),
    };
    Problem::new(later.span.clone(), message).help(EACH)
}

fn listeners(listen: Listed, overrides: &Overrides) -> Vec<Placed<ListenAddress>> {
    let unplaced = |value| Placed { value, span: None };
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
    if config
        .listen
        .iter()
        .chain(&config.admin)
        .any(|one| *one == control)
    {
        problems.push(
            Problem::new(span, format!("{control} is to be listened on as well"))
                .help("the control socket needs a path of its own"),
        );
    }
}
