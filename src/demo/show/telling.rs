//! How the show is told: tables and sentences of at most 79 columns. Pure: it draws nothing.

use std::net::SocketAddr;
use std::time::Duration;

use super::acts::{ACTS, Act, Scene};
use super::ledger::{Account, Beyond, Tally};

/// The longest line.
pub(super) const WIDTH: usize = 79;

const BAR_WIDTH: usize = 40;

/// How long a WebSocket goes on after the last request of its version to be worth a word.
const OUTLIVED_BY: Duration = Duration::from_secs(4);

/// Colours, if there are to be any.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(pub(super) bool);

/// What is known of the show at one moment.
#[derive(Clone, Debug)]
pub(super) struct View<'a> {
    /// Where the clients come in.
    pub(super) address: SocketAddr,
    /// The acts that have ended.
    pub(super) scenes: &'a [Scene],
    /// What became of the act whose aftermath is being watched.
    pub(super) open: Option<&'a Scene>,
    /// The act that is being performed; none: the quiet time before, or the end.
    pub(super) act: Option<&'static Act>,
    /// What hitless does at this moment.
    pub(super) now: &'a str,
    /// How much of the show is over.
    pub(super) elapsed: Duration,
    /// How long it is.
    pub(super) lasts: Duration,
}

/// What a line of the table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Ahead,
    Now,
    Well,
    Bad,
}

// === impl View ===

impl View<'_> {
    /// The head of everything.
    pub(super) fn title(&self) -> String {
        format!(
            "hitless demo: an app at http://{}/, changed while it is used",
            self.address
        )
    }

    /// The table: a line for the quiet time and for each act, and below it what hitless said.
    pub(super) fn table(&self, account: &Account, paint: Paint) -> Vec<String> {
        let mut lines = vec![format!(
            "{:41}{:>9}{:>8}{:>9}  versions",
            "", "requests", "failed", "slowest"
        )];
        let quiet = account.acts.first();
        let quiet_mark = match (account.acts.len(), quiet) {
            (_, Some(tally)) if tally.failed > 0 => Mark::Bad,
            (1, _) => Mark::Now,
            _ => Mark::Well,
        };
        lines.push(row(quiet_mark, "quiet: nothing is changed", quiet, paint));
        for (index, act) in ACTS.iter().enumerate() {
            let tally = account.acts.get(index + 1);
            let scene = self.scenes.get(index);
            let title = format!("{} {}", index + 1, act.title);
            lines.push(row(mark(tally, scene), &title, tally, paint));
            if let Some(said) = scene.and_then(|scene| scene.said.first()) {
                let said = wrapped(said, WIDTH - 6).into_iter();
                lines.extend(said.map(|line| paint.dim(&format!("      {line}"))));
            }
            if let Some(Err(wrong)) = scene.map(|scene| &scene.result) {
                let wrong = wrapped(wrong, WIDTH - 6).into_iter();
                lines.extend(wrong.map(|line| paint.bad(&format!("      {line}"))));
            }
        }
        lines
    }

    /// Everything while the show goes on.
    pub(super) fn frame(&self, account: &Account, paint: Paint) -> Vec<String> {
        let mut lines = vec![self.title()];
        lines.extend(self.table(account, paint));
        lines.push(String::new());
        let done = self.act.map_or("clients only", |act| act.done);
        lines.push(format!("done:    {done}"));
        let now = wrapped(self.now, WIDTH - 9).into_iter().enumerate();
        lines.extend(now.map(|(index, line)| match index {
            0 => format!("hitless: {line}"),
            _ => format!("         {line}"),
        }));
        if let Some(scene) = self.open {
            let (Ok(result) | Err(result)) = &scene.result;
            lines.push(cut(&format!("result:  {result}")));
        }
        lines.push(bar(self.elapsed, self.lasts));
        lines
    }
}

/// A line of the table.
fn row(mark: Mark, title: &str, tally: Option<&Tally>, paint: Paint) -> String {
    let sign = match mark {
        Mark::Ahead => paint.dim("    "),
        Mark::Now => ">>  ".to_owned(),
        Mark::Well => paint.good("ok  "),
        Mark::Bad => paint.bad("BAD "),
    };
    let Some(tally) = tally else {
        return format!("{sign}{}", paint.dim(title));
    };
    let (requests, failed) = (tally.requests, tally.failed);
    let slowest = took(tally.slowest);
    let way = way(tally);
    format!("{sign}{title:37}{requests:>9}{failed:>8}{slowest:>9}  {way}")
}

fn mark(tally: Option<&Tally>, scene: Option<&Scene>) -> Mark {
    match (tally, scene) {
        (Some(tally), _) if tally.failed > 0 => Mark::Bad,
        (_, Some(scene)) if scene.result.is_err() => Mark::Bad,
        (Some(_), Some(_)) => Mark::Well,
        (Some(_), None) => Mark::Now,
        (None, _) => Mark::Ahead,
    }
}

fn way(tally: &Tally) -> String {
    let way: Vec<_> = tally.way().iter().map(u64::to_string).collect();
    way.join(" > ")
}

fn bar(elapsed: Duration, lasts: Duration) -> String {
    let share = elapsed.as_secs_f64() / lasts.as_secs_f64();
    let full = (0..BAR_WIDTH)
        .take_while(|place| (*place as f64) < share * BAR_WIDTH as f64)
        .count();
    let (done, left) = ("#".repeat(full), "-".repeat(BAR_WIDTH - full));
    let (elapsed, lasts) = (elapsed.as_secs(), lasts.as_secs());
    format!("[{done}{left}] {elapsed} s of about {lasts} s")
}

// === an act in plain lines ===

/// When an act begins.
pub(super) fn begins(number: usize, act: &Act) -> Vec<String> {
    let mut lines = vec![String::new(), format!("{number}. {}", act.title)];
    lines.extend(named("done", act.done));
    lines
}

/// When it has ended.
pub(super) fn ended(scene: &Scene, tally: &Tally, quiet: &Tally) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, said) in scene.said.iter().enumerate() {
        lines.extend(named(if index == 0 { "hitless" } else { "" }, said));
    }
    match &scene.result {
        Ok(result) => lines.extend(named("result", result)),
        Err(wrong) => lines.extend(named("WRONG", wrong)),
    }
    for (index, line) in clients(tally, Some(quiet)).iter().enumerate() {
        lines.extend(named(if index == 0 { "clients" } else { "" }, line));
    }
    lines
}

/// When the quiet time has ended.
pub(super) fn quiet(tally: &Tally) -> Vec<String> {
    let mut lines = vec![String::new(), "Quiet: nothing is changed".to_owned()];
    for (index, line) in clients(tally, None).iter().enumerate() {
        lines.extend(named(if index == 0 { "clients" } else { "" }, line));
    }
    lines
}

/// What clients saw in an act, compared with the quiet time.
fn clients(tally: &Tally, quiet: Option<&Tally>) -> Vec<String> {
    let (requests, failed) = (tally.requests, tally.failed);
    let slowest = took(tally.slowest);
    let way = way(tally);
    let quiet = quiet.map_or_else(String::new, |quiet| {
        format!(" (quiet: {})", took(quiet.slowest))
    });
    vec![
        format!("{requests} requests, {failed} failed, slowest {slowest}{quiet}"),
        format!("answered by version {way}"),
    ]
}

fn named(name: &str, text: &str) -> Vec<String> {
    let lines = wrapped(text, WIDTH - 12).into_iter().enumerate();
    let lines = lines.map(|(index, line)| match (index, name) {
        (0, "") | (1.., _) => format!("            {line}"),
        (0, _) => format!("   {:9}{line}", format!("{name}:")),
    });
    lines.collect()
}

// === the end ===

/// What the clients saw, in all.
pub(super) fn summary(account: &Account, lasted: Duration) -> Vec<String> {
    let sum = |figure: fn(&Tally) -> u64| account.acts.iter().map(figure).sum::<u64>();
    let (requests, failed) = (sum(|tally| tally.requests), sum(|tally| tally.failed));
    let mut lines = vec![
        String::new(),
        format!("What the clients saw in {}", took(lasted)),
        format!("  {requests:>7}  requests and WebSocket messages, all checked"),
        format!("  {failed:>7}  of them failed"),
        format!(
            "  {:>7}  connections closed that a client would have gone on using",
            account.closed
        ),
    ];
    lines.extend(versions(account));
    lines.extend(beyond(&account.beyond));
    lines.extend([
        "Slowest: from request to answer, less the time that the app itself took. What".to_owned(),
        "  a version had under way when it was taken back began anew: up to 0.8 s.".to_owned(),
    ]);
    if !account.failures.is_empty() {
        lines.extend([String::new(), "The first that failed".to_owned()]);
        lines.extend(
            account
                .failures
                .iter()
                .map(|line| cut(&format!("  {line}"))),
        );
    }
    lines
}

fn versions(account: &Account) -> Vec<String> {
    let mut lines = vec!["Versions that answered".to_owned()];
    for (version, seen) in &account.versions {
        let (first, last) = (seen.first.as_secs_f64(), seen.last.as_secs_f64());
        let answers = seen.answers;
        let outlived = seen.last_message > seen.last + OUTLIVED_BY;
        let socket = match outlived {
            true => format!("; a WebSocket of it to {}", took(seen.last_message)),
            false => String::new(),
        };
        lines.push(format!(
            "  {version:>7}  from {first:>4.1} s to {last:>4.1} s, {answers} answers{socket}"
        ));
    }
    lines
}

fn beyond(beyond: &Beyond) -> Vec<String> {
    let counts = [
        (beyond.uploads, "uploads that version 5 had when it crashed"),
        (
            beyond.downloads,
            "downloads that version 5 had begun to answer when it crashed",
        ),
        (beyond.refused, "uploads that version 6 answered with 500"),
        (
            beyond.farewells,
            "WebSockets closed in order (1012), and opened again by their clients",
        ),
    ];
    let mut lines = vec!["Not promised, counted apart: what may not be sent twice".to_owned()];
    lines.extend(counts.map(|(count, what)| format!("  {count:>7}  {what}")));
    lines
}

/// The last line.
pub(super) fn moral(account: &Account, scenes: &[Scene]) -> String {
    let failed: u64 = account.acts.iter().map(|tally| tally.failed).sum();
    let wrong = scenes.iter().filter(|scene| scene.result.is_err()).count();
    match (failed, account.closed, wrong) {
        (0, 0, 0) => "Six changes, four of them bad: no request failed.".to_owned(),
        _ => format!(
            "{failed} failed, {} closed, {wrong} acts ended wrong: hitless broke a promise.",
            account.closed
        ),
    }
}

// === words ===

/// A time for people.
pub(super) fn took(time: Duration) -> String {
    match time.as_micros() {
        0..1_000 => format!("{:.2} ms", time.as_secs_f64() * 1000.0),
        1_000..10_000 => format!("{:.1} ms", time.as_secs_f64() * 1000.0),
        10_000..1_000_000 => format!("{} ms", time.as_millis()),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

/// The same, of seconds.
pub(super) fn seconds(seconds: f64) -> String {
    took(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// Breaks a text at spaces into lines of at most this many characters; a longer word is cut.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let word: String = word.chars().take(width).collect();
        let length = line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && length > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    lines.push(line);
    lines
}

fn cut(text: &str) -> String {
    text.chars().take(WIDTH).collect()
}

// === impl Paint ===

impl Paint {
    fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    fn with(self, colour: &str, text: &str) -> String {
        match self.0 {
            true => format!("\x1b[{colour}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}
