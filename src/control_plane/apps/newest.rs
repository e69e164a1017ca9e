//! What became of each app in the newest reload, so that a rollback of the whole undoes that one and nothing else.

use std::sync::{Arc, Mutex, PoisonError};

use crate::control_plane::status::VerdictWord;
use crate::generation::AppName;

/// What the newest reload that started anything has led to.
#[derive(Debug, Default)]
pub(super) struct Newest(Mutex<Arc<Record>>);

/// What one reload has led to so far.
#[derive(Debug, Default)]
pub(super) struct Record(Mutex<Vec<(AppName, Led)>>);

/// Where a reload has led one app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Led {
    /// It was started for the first time: there is nothing before it.
    New,
    /// To a version that is being started.
    Starting,
    /// To a version that went live.
    Live,
    /// Nowhere: what served before still does.
    Nowhere,
}

// === impl Newest ===

impl Newest {
    /// From now on this is the newest.
    pub(super) fn begin(&self, apps: Vec<(AppName, Led)>) -> Arc<Record> {
        let record = Arc::new(Record(Mutex::new(apps)));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&record);
        record
    }

    /// The apps that it has led elsewhere, or is about to.
    pub(super) fn led(&self) -> Vec<AppName> {
        let newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let apps = newest.0.lock().unwrap_or_else(PoisonError::into_inner);
        undone(&apps)
    }
}

// === impl Record ===

impl Record {
    /// An app has its verdict.
    pub(super) fn ended(&self, app: &AppName, verdict: VerdictWord) {
        let mut apps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_app = apps.iter_mut().find(|(name, _)| name == app);
        if let Some((_, led)) = of_app
            && *led == Led::Starting
        {
            *led = match verdict {
                // A newer reload has a record of its own: what came first was a rollback, and asked again the app is there
                // already.
                VerdictWord::Live | VerdictWord::Superseded => Led::Live,
                VerdictWord::Failed | VerdictWord::Cancelled => Led::Nowhere,
            };
        }
    }
}

/// The apps of which something is to be undone: the others are as they were before.
fn undone(apps: &[(AppName, Led)]) -> Vec<AppName> {
    let led = apps
        .iter()
        .filter(|(_, led)| matches!(led, Led::Starting | Led::Live));
    led.map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(newest: &Newest, apps: &[&str]) -> Arc<Record> {
        let apps = apps.iter().map(|name| (AppName::new(name), Led::Starting));
        newest.begin(apps.collect())
    }

    fn led(newest: &Newest) -> Vec<String> {
        newest.led().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_starting_or_live_is_undone_and_nothing_else() {
        let newest = Newest::default();
        assert_eq!(led(&newest), Vec::<String>::new());
        let record = begin(&newest, &["live", "failed", "superseded", "starting"]);
        record.ended(&AppName::new("live"), VerdictWord::Live);
        record.ended(&AppName::new("failed"), VerdictWord::Failed);
        record.ended(&AppName::new("superseded"), VerdictWord::Superseded);
        assert_eq!(led(&newest), ["live", "superseded", "starting"]);
    }

    #[test]
    fn only_the_newest_counts_and_a_verdict_of_an_older_one_changes_nothing() {
        let newest = Newest::default();
        let older = begin(&newest, &["one", "two"]);
        begin(&newest, &["two"]);
        older.ended(&AppName::new("one"), VerdictWord::Live);
        older.ended(&AppName::new("two"), VerdictWord::Failed);
        assert_eq!(led(&newest), ["two"]);
    }

    #[test]
    fn a_new_app_has_nothing_before_it() {
        let newest = Newest::default();
        let record = newest.begin(vec![(AppName::new("new"), Led::New)]);
        record.ended(&AppName::new("new"), VerdictWord::Live);
        assert_eq!(led(&newest), Vec::<String>::new());
    }
}
