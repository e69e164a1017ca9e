//! What a generation is made of, and the record by which the same can be made again.

use std::sync::Arc;

use crate::control_plane::endpoint::Endpoint;
use crate::control_plane::process::{self, Recipe};

/// What the generations of an app are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Processes that hitless starts.
    Command(process::Config),
    /// What somebody else runs; nothing is started or stopped. At least one, and each once.
    Addresses(Arc<[Endpoint]>),
}

/// What makes a version.
#[derive(Clone, Debug)]
pub enum Record {
    /// What its processes were started from.
    Processes(Arc<Recipe>),
    /// Where it is.
    Addresses(Addressed),
}

/// The addresses that make a version.
#[derive(Clone, Debug)]
pub struct Addressed {
    /// Each of them.
    pub list: Arc<[Endpoint]>,
    /// What the configuration named when somebody asked for these instead; none: it named these.
    pub instead_of: Option<Arc<[Endpoint]>>,
}

// === impl Backing ===

impl Backing {
    /// The addresses, where it is none of ours.
    pub fn addresses(&self) -> Option<&Arc<[Endpoint]>> {
        match self {
            Self::Command(_) => None,
            Self::Addresses(addresses) => Some(addresses),
        }
    }
}

// === impl Record ===

impl Record {
    /// Whether starting it again means starting from other files than those that were recorded.
    pub fn files_changed(&self) -> bool {
        match self {
            Self::Processes(recipe) => recipe.files_changed(),
            Self::Addresses(_) => false,
        }
    }

    /// What its processes were started from.
    pub fn recipe(&self) -> Option<&Recipe> {
        match self {
            Self::Processes(recipe) => Some(recipe),
            Self::Addresses(_) => None,
        }
    }

    /// The addresses, where it is none of ours.
    pub fn addressed(&self) -> Option<&Addressed> {
        match self {
            Self::Processes(_) => None,
            Self::Addresses(addresses) => Some(addresses),
        }
    }
}
