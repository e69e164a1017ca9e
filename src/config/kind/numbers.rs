//! Numbers that are neither counts nor times: shares, and sizes of which 0 means none.

use toml::de::DeValue;

use crate::config::problem::Problem;
use crate::config::read::{self, Kind, Node};
use crate::config::units;

/// A share from 0 to 1; 0 itself only where it has a meaning.
#[derive(Debug)]
pub(in crate::config) struct Ratio<const ZERO: bool>;

/// A size up to a bound, in bytes; 0 has a meaning.
#[derive(Debug)]
pub(in crate::config) struct SizeOrNone<const MAX: u64>;

impl<const ZERO: bool> Kind for Ratio<ZERO> {
    type Value = f64;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<f64> {
        let allowed = if ZERO {
            "a number from 0 to 1, such as 0.2"
        } else {
            "a number above 0 and up to 1, such as 0.5"
        };
        let number: Option<f64> = match node.get_ref() {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(number) => number.as_str().parse().ok(),
            _ => {
                problems.push(read::mismatch(node, at, allowed));
                return None;
            }
        };
        let fits = |number: &f64| (0.0..=1.0).contains(number) && (ZERO || *number > 0.0);
        let ratio = number.filter(fits);
        if ratio.is_none() {
            problems.push(read::cannot_be(node, at, &read::shown(node), allowed));
        }
        ratio
    }
}

impl<const MAX: u64> Kind for SizeOrNone<MAX> {
    type Value = usize;

    fn read(node: &Node<'_>, at: &str, problems: &mut Vec<Problem>) -> Option<usize> {
        if let DeValue::Integer(zero) = node.get_ref()
            && zero.as_str() == "0"
        {
            return Some(0);
        }
        let allowed = format!("a size up to \"{}\", or 0", units::show_size(MAX));
        let bytes = read::text(node, at, problems, &allowed, units::size)?;
        let size = usize::try_from(bytes).ok().filter(|_| bytes <= MAX);
        if size.is_none() {
            problems.push(read::cannot_be(node, at, &read::shown(node), allowed));
        }
        size
    }
}
