//! The options of a request: query parameters by the names of the command line's flags, `_` for `-`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::problem::Problem;
use crate::control_plane::endpoint::Endpoint;
use crate::units;

/// What a query says, each to be taken once.
#[derive(Debug)]
pub(super) struct Options(BTreeMap<String, String>);

impl Options {
    /// Reads `name=value&name`.
    pub(super) fn read(query: &str) -> Result<Self, Problem> {
        let mut options = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if options.insert(name.to_owned(), value.to_owned()).is_some() {
                return Err(Problem::bad_option(&format!("?{name} is given twice")));
            }
        }
        Ok(Self(options))
    }

    /// A duration such as `30s`, or `0`.
    pub(super) fn duration(&mut self, name: &str) -> Result<Option<Duration>, Problem> {
        let Some(value) = self.0.remove(name) else {
            return Ok(None);
        };
        units::duration(&value)
            .map(Some)
            .map_err(|error| Problem::bad_option(&format!("?{name} cannot be {value:?}: {error}")))
    }

    /// Addresses with commas between them, percent-encoded or not.
    pub(super) fn addresses(&mut self, name: &str) -> Result<Option<Arc<[Endpoint]>>, Problem> {
        let Some(value) = self.0.remove(name) else {
            return Ok(None);
        };
        let bad = |why: &str| Problem::bad_option(&format!("?{name} cannot be {value:?}: {why}"));
        let decoded = decoded(&value).ok_or_else(|| bad("it is badly encoded"))?;
        let list = Endpoint::list(&decoded).map_err(|error| bad(&error.to_string()))?;
        Ok(Some(list.into()))
    }

    /// A whole number of a range.
    pub(super) fn number(
        &mut self,
        name: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, Problem> {
        let Some(value) = self.0.remove(name) else {
            return Ok(None);
        };
        let digits = value.bytes().all(|byte| byte.is_ascii_digit());
        let number = value
            .parse()
            .ok()
            .filter(|number| digits && range.contains(number));
        let (first, last) = (range.start(), range.end());
        number.map(Some).ok_or_else(|| {
            Problem::bad_option(&match *last {
                u64::MAX => format!("?{name} cannot be {value:?}: a whole number from {first} on"),
                _ => format!("?{name} cannot be {value:?}: a whole number from {first} to {last}"),
            })
        })
    }

    /// Given without a value, or with `true` or `false`.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        match self.0.remove(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(other) => Err(Problem::bad_option(&format!(
                "?{name} cannot be {other:?}: true or false"
            ))),
        }
    }

    /// Nothing else may be there.
    pub(super) fn end(self, allowed: &[&str]) -> Result<(), Problem> {
        let Some(unknown) = self.0.keys().next() else {
            return Ok(());
        };
        let allowed = match allowed {
            [] => "no options are taken here".to_owned(),
            names => format!("allowed here: {}", names.join(", ")),
        };
        Err(Problem::bad_option(&format!(
            "unknown option ?{unknown}; {allowed}"
        )))
    }
}

/// The text behind `%2C` and the like: what a client encodes that does not know what it need not.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        rest = others;
        if *first == b'%' {
            let (digits, others) = rest.split_at_checked(2)?;
            rest = others;
            let digits = std::str::from_utf8(digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused<T: std::fmt::Debug>(read: Result<T, Problem>, part: &str) {
        let problem = read.expect_err("it is refused");
        assert!(problem.detail.contains(part), "{problem:?}");
    }

    #[test]
    fn each_option_is_taken_by_its_name() {
        let mut options = Options::read("probation=1m30s&through_probation").unwrap();
        let wanted = Duration::from_secs(90);
        assert_eq!(options.duration("probation").unwrap(), Some(wanted));
        assert!(options.flag("through_probation").unwrap());
        options.end(&["probation", "through_probation"]).unwrap();
    }

    #[test]
    fn addresses_may_be_encoded() {
        let mut options = Options::read("addresses=127.0.0.1%3a3000%2Cunix:/run/a%20b").unwrap();
        let list = options.addresses("addresses").unwrap().unwrap();
        let shown: Vec<_> = list.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["127.0.0.1:3000", "unix:/run/a b"]);
        let read = |query| Options::read(query).unwrap().addresses("addresses");
        refused(read("addresses=3000"), "HOST:PORT");
        refused(read("addresses=%zz"), "badly encoded");
        refused(read("addresses=a:1,a:1"), "twice");
        assert_eq!(read("").unwrap(), None);
    }

    #[test]
    fn zero_is_said_and_nothing_is_not() {
        let mut options = Options::read("probation=0&through_probation=false").unwrap();
        assert_eq!(options.duration("probation").unwrap(), Some(Duration::ZERO));
        assert_eq!(options.duration("for").unwrap(), None);
        assert!(!options.flag("through_probation").unwrap());
        assert!(!options.flag("changed").unwrap());
    }

    #[test]
    fn what_is_wrong_is_said_with_what_is_allowed() {
        let read = |query| Options::read(query).unwrap();
        refused(read("for=30").duration("for"), "30s");
        refused(read("for").duration("for"), "a duration is");
        refused(read("lines=+5").number("lines", 0..=9), "from 0 to 9");
        refused(read("n=0").number("n", 1..=u64::MAX), "from 1 on");
        assert_eq!(read("n=7").number("n", 0..=9).unwrap(), Some(7));
        refused(read("a=yes").flag("a"), "true or false");
        refused(read("four=5s").end(&["for"]), "allowed here: for");
        refused(read("for=5s").end(&[]), "no options are taken here");
        refused(Options::read("for=5s&for=6s"), "twice");
    }
}
