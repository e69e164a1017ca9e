//! Which app a request is for: by its host and by the start of its path.
//!
//! One table for each listening address. A lookup costs a hash of the host and one of each segment of the path, as far
//! down as any route goes, however many apps and routes there are. Looks at nothing else, and changes no request.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// Longer names do not exist (RFC 1035 section 2.3.4), so none is looked up.
const HOST_BYTES_MAX: usize = 253;

/// Which requests are for an app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Route {
    /// The host that they are for.
    pub host: HostPattern,
    /// The segments that their path starts with, such as `/api/v2`; empty: any path.
    pub path: String,
    /// Whether those segments are taken off before the app sees the path.
    pub strip_prefix: bool,
}

/// Which hosts a route is for; in lower case, without a port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Any.
    #[default]
    Any,
    /// This one.
    Exact(String),
    /// Every one below this one, however deep, but not this one itself: `*.example.org`.
    Below(String),
}

/// The routes of all apps that one listening address serves.
#[derive(Debug, Default)]
pub struct Routes {
    exact: HashMap<Box<str>, Segment>,
    below: HashMap<Box<str>, Segment>,
    /// The most labels that a name of `below` has.
    below_labels_max: usize,
    any: Segment,
    /// The only app that anything leads to.
    sole: Option<usize>,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The number of the app, in the order in which the data plane got them.
    pub app: usize,
    /// How many bytes at the start of the path the app does not see.
    pub stripped: usize,
}

/// One segment of the paths of one host.
#[derive(Debug, Default)]
struct Segment {
    target: Option<Target>,
    below: HashMap<Box<str>, Self>,
}

// === impl Routes ===

impl Routes {
    /// These routes, each with the number of its app. Of two that are the same the first counts.
    pub fn new<'a>(routes: impl IntoIterator<Item = (usize, &'a Route)>) -> Self {
        let mut table = Self::default();
        let mut apps = Vec::new();
        for (app, route) in routes {
            table.add(app, route);
            apps.push(app);
        }
        apps.dedup();
        table.sole = match apps[..] {
            [sole] => Some(sole),
            _ => None,
        };
        table
    }

    fn add(&mut self, app: usize, route: &Route) {
        let root = match &route.host {
            HostPattern::Any => &mut self.any,
            HostPattern::Exact(host) => self.exact.entry(host.as_str().into()).or_default(),
            HostPattern::Below(host) => {
                let labels = host.split('.').count();
                self.below_labels_max = self.below_labels_max.max(labels);
                self.below.entry(host.as_str().into()).or_default()
            }
        };
        let stripped = if route.strip_prefix {
            route.path.len()
        } else {
            0
        };
        let last = segments(&route.path).fold(root, |segment, name| {
            segment.below.entry(name.into()).or_default()
        });
        last.target.get_or_insert(Target { app, stripped });
    }

    /// The only app that anything leads to at this address; none where there are several.
    pub(super) fn sole(&self) -> Option<usize> {
        self.sole
    }

    /// Whether any of them is for some hosts only.
    pub(super) fn are_by_host(&self) -> bool {
        !(self.exact.is_empty() && self.below.is_empty())
    }

    /// Where a request goes that is for this host, as it stands in the head, and has this path. The most specific host
    /// goes first that has a route for the path, and of its routes the longest.
    pub fn find(&self, host: Option<&[u8]>, path: &str) -> Option<Target> {
        if self.are_by_host()
            && let Some(host) = host.and_then(name)
        {
            let exact = self.exact.get(&*host).and_then(|it| it.find(path));
            let found = exact.or_else(|| self.find_below(&host, path));
            if found.is_some() {
                return found;
            }
        }
        self.any.find(path)
    }

    fn find_below(&self, host: &str, path: &str) -> Option<Target> {
        let mut left = host.bytes().filter(|byte| *byte == b'.').count();
        let mut rest = host;
        while left > 0 {
            rest = rest.split_once('.')?.1;
            // What is left has as many labels as there were dots.
            if left <= self.below_labels_max
                && let Some(target) = self.below.get(rest).and_then(|it| it.find(path))
            {
                return Some(target);
            }
            left -= 1;
        }
        None
    }
}

// === impl Segment ===

impl Segment {
    /// The target of the longest route that the path starts with.
    fn find(&self, path: &str) -> Option<Target> {
        let mut found = self.target;
        let mut segment = self;
        for name in segments(path) {
            match segment.below.get(name) {
                Some(next) => segment = next,
                None => break,
            }
            found = segment.target.or(found);
        }
        found
    }
}

/// `/a/b` has two, `/a/` has `a` and an empty one.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    // `*` and the target of CONNECT have none.
    let path = path.strip_prefix('/');
    path.into_iter().flat_map(|path| path.split('/'))
}

/// The name in a `Host`: without its port and the dot of the root, in lower case.
fn name(host: &[u8]) -> Option<Cow<'_, str>> {
    let host = std::str::from_utf8(host).ok()?;
    let end = match host.find(']') {
        Some(bracket) if host.starts_with('[') => bracket + 1,
        _ => host.find(':').unwrap_or(host.len()),
    };
    let host = &host[..end];
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.len() > HOST_BYTES_MAX {
        return None;
    }
    Some(match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(host.to_ascii_lowercase()),
        false => Cow::Borrowed(host),
    })
}

// === impl Route ===

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() {
            "/"
        } else {
            &self.path
        };
        match &self.host {
            HostPattern::Any => f.write_str(path),
            HostPattern::Exact(host) => write!(f, "{host}{path}"),
            HostPattern::Below(host) => write!(f, "*.{host}{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(host: &str, path: &str) -> Route {
        let host = match host.strip_prefix("*.") {
            _ if host.is_empty() => HostPattern::Any,
            Some(below) => HostPattern::Below(below.to_owned()),
            None => HostPattern::Exact(host.to_owned()),
        };
        Route {
            host,
            path: path.to_owned(),
            strip_prefix: false,
        }
    }

    fn table(routes: &[(&str, &str)]) -> Routes {
        let routes: Vec<_> = routes
            .iter()
            .map(|(host, path)| route(host, path))
            .collect();
        Routes::new(routes.iter().enumerate())
    }

    #[track_caller]
    fn check(table: &Routes, host: &str, path: &str, app: Option<usize>) {
        let host = (!host.is_empty()).then_some(host.as_bytes());
        let found = table.find(host, path).map(|target| target.app);
        assert_eq!(found, app, "{host:?} {path}");
    }

    #[test]
    fn the_longest_prefix_wins_at_borders_of_segments() {
        let table = table(&[("", ""), ("", "/api"), ("", "/api/v2"), ("", "/a/b/c")]);
        check(&table, "", "/", Some(0));
        check(&table, "", "/api", Some(1));
        check(&table, "", "/api/", Some(1));
        check(&table, "", "/api/v1", Some(1));
        check(&table, "", "/api/v2/x", Some(2));
        check(&table, "", "/apis", Some(0));
        check(&table, "", "/a/b", Some(0));
        check(&table, "", "/a/b/c", Some(3));
        check(&table, "", "*", Some(0));
    }

    #[test]
    fn an_exact_host_goes_before_one_below_a_name_and_that_before_any() {
        let table = table(&[
            ("", ""),
            ("a.example.org", ""),
            ("*.example.org", ""),
            ("*.b.example.org", ""),
            ("[::1]", ""),
        ]);
        check(&table, "a.example.org", "/", Some(1));
        check(&table, "A.Example.ORG.:8080", "/", Some(1));
        check(&table, "c.example.org", "/", Some(2));
        check(&table, "x.a.example.org", "/", Some(2));
        check(&table, "x.b.example.org", "/", Some(3));
        check(&table, "example.org", "/", Some(0));
        check(&table, "notexample.org", "/", Some(0));
        check(&table, "[::1]:80", "/", Some(4));
        check(&table, "", "/", Some(0));
        check(&table, &"a.".repeat(30_000), "/", Some(0));
    }

    #[test]
    fn a_host_that_has_no_route_for_the_path_leaves_it_to_the_next() {
        let table = table(&[("a.org", "/api"), ("*.org", "/b"), ("", "/c")]);
        check(&table, "a.org", "/api/1", Some(0));
        check(&table, "a.org", "/b", Some(1));
        check(&table, "a.org", "/c", Some(2));
        check(&table, "a.org", "/d", None);
        check(&table, "", "/b", None);
    }

    #[test]
    fn what_is_stripped_is_the_prefix_of_the_route() {
        let mut api = route("", "/api/v1");
        api.strip_prefix = true;
        let table = Routes::new([(7, &api)]);
        let target = Target {
            app: 7,
            stripped: 7,
        };
        assert_eq!(table.find(None, "/api/v1/x"), Some(target));
        assert_eq!(table.sole(), Some(7));
    }

    #[test]
    fn an_app_with_several_routes_is_still_the_only_one() {
        let (one, two) = (route("a.org", ""), route("b.org", ""));
        assert_eq!(Routes::new([(0, &one), (0, &two)]).sole(), Some(0));
        assert_eq!(Routes::new([(0, &one), (1, &two)]).sole(), None);
        assert_eq!(Routes::new([]).sole(), None);
    }
}
