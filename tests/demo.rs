//! Promise: `hitless demo` shows every act in 80 columns, on a terminal and on a pipe; none of its clients loses what is
//! promised to them; and nothing of it is left behind.

mod support;

use std::fmt::Write;
use std::time::Duration;

use expect_test::expect;
use rustix::process::Signal;
use support::client::fetch_path;
use support::processes;
use support::program::{self, Program, Ran};
use support::world::SOON;
use tempfile::TempDir;

/// How long a show may take on a busy machine; it is made for 20 s.
const SHOW_WITHIN: Duration = Duration::from_secs(90);

const COLUMNS: usize = 80;
const ROWS: usize = 24;

/// A temporary folder and a mark for the processes of one show.
struct House {
    temporary: TempDir,
    world: String,
}

impl House {
    fn new(name: &str) -> Self {
        Self {
            temporary: tempfile::tempdir().expect("the system has a temporary folder"),
            world: format!("demo-{name}-{}", std::process::id()),
        }
    }

    fn variables(&self) -> [(&str, &str); 4] {
        let temporary = self.temporary.path().to_str().expect("its path is UTF-8");
        [
            ("TMPDIR", temporary),
            (processes::MARK, &self.world),
            ("TERM", "xterm"),
            ("NO_COLOR", ""),
        ]
    }

    /// Fails if a process or a file of the show is there.
    fn expect_nothing_left(&self) {
        let left = processes::left_after(&self.world, SOON);
        assert!(left.is_empty(), "left behind:\n{}", processes::list(&left));
        let files = std::fs::read_dir(self.temporary.path()).expect("the folder is there");
        let files: Vec<_> = files
            .map(|file| file.expect("it can be read").path())
            .collect();
        assert!(files.is_empty(), "left behind: {files:?}");
    }
}

#[tokio::test]
async fn shows_every_act_on_a_pipe() {
    let house = House::new("pipe");
    let ran = program::run(
        program::hitless(),
        ["demo"],
        &house.variables(),
        SHOW_WITHIN,
    )
    .await;
    let ran = ran.expect_status(0, "a demo");
    house.expect_nothing_left();
    assert_eq!(ran.stderr, "", "{ran:#?}");
    expect_narrow(&ran.stdout);
    let (acts, end) = parted(&ran.stdout);
    expect![[r#"
        hitless demo: an app at http://127.0.0.1:#/, changed while it is used

        Quiet: nothing is changed
           clients: # requests, 0 failed, slowest # s
                    answered by version 1

        1. a good reload
           done: version 2 is deployed, hitless reload
           hitless: generation 2 is live after # s
           result: version 2 serves; version 1 is kept running, to go back to
           clients: # requests, 0 failed, slowest # s (quiet: # s)
                    answered by version 1 > 2

        2. a version that dies at start
           done: version 3 is deployed, hitless reload
           hitless: generation 3 did not go live: exited with status 3 before it was ready
                    last check: connection refused: nothing listens there
                    last output: demo-app[#]: dying at start with status 3, as told
           result: version 2 serves on, untouched; hitless status says "STALE"
           clients: # requests, 0 failed, slowest # s (quiet: # s)
                    answered by version 2

        3. a version that never gets ready
           done: version 4 is deployed, hitless reload
           hitless: generation 4 did not go live: not ready within start_timeout
                    last check: connection refused: nothing listens there
                    last output: demo-app[#]: listening nowhere, as told
           result: version 2 serves on, untouched; hitless status says "STALE"
           clients: # requests, 0 failed, slowest # s (quiet: # s)
                    answered by version 2

        4. one that goes live and crashes
           done: version 5 is deployed, hitless reload
           hitless: generation 5 is live after # s; taken back after # s: exited with status 5 while it served
           result: version 2 serves again; version 5 is not started again
           clients: # requests, 0 failed, slowest # s (quiet: # s)
                    answered by version 2 > 5 > 2

        5. one that goes live and answers 500
           done: version 6 is deployed, hitless reload
           hitless: generation 6 is live after # s; taken back after # s: # % of its last # answers were bad (before: # %)
           result: version 2 serves again; version 6 is not started again
           clients: # requests, 0 failed, slowest # s (quiet: # s)
                    answered by version 2

        6. a good one, and a rollback
           done: version 7 is deployed, hitless reload; # s later hitless rollback
           hitless: generation 7 is live after # s; rollback: generation 2 serves again after # s
           result: version 2 serves again: it had been kept running
           clients: # requests, 0 failed, slowest # s (quiet: # s)
                    answered by version 2 > 7 > 2

    "#]]
    .assert_eq(&acts);
    expect_end(&end);
}

#[tokio::test]
async fn shows_every_act_on_a_terminal() {
    let house = House::new("terminal");
    let hitless = program::hitless();
    let ran = program::run_on_terminal(hitless, ["demo"], &house.variables(), SHOW_WITHIN).await;
    let (status, written) = ran;
    assert_eq!(status, 0, "{written}");
    house.expect_nothing_left();
    let mut terminal = Terminal::default();
    terminal.take(&written);
    let last = terminal.text();
    expect_narrow(&last);
    let (acts, end) = parted(&last);
    expect![[r#"
        hitless demo: an app at http://127.0.0.1:#/, changed while it is used
    "#]]
    .assert_eq(&acts);
    expect_end(&end);
    assert!(written.contains("\x1b[32mok"), "no colour: {written:?}");
    for part in [
        ">>  quiet",
        ">>  4 one that goes live and crashes",
        "[###",
        "hitless: generation 4: not listening yet",
        "result:  version 2 serves again",
    ] {
        assert!(written.contains(part), "never drawn: {part}\n{last}");
    }
}

#[tokio::test]
async fn does_without_colour_where_none_is_wanted() {
    let house = House::new("colour");
    let mut variables = house.variables();
    variables[3].1 = "1";
    let hitless = program::hitless();
    let ran = program::run_on_terminal(hitless, ["demo"], &variables, SHOW_WITHIN).await;
    let (status, written) = ran;
    assert_eq!(status, 0, "{written}");
    assert!(written.contains("\x1b[J"), "not drawn: {written:?}");
    assert!(!written.contains("\x1b[3"), "coloured: {written:?}");
    assert!(!written.contains("\x1b[2m"), "dimmed: {written:?}");
}

#[tokio::test]
async fn goes_on_when_asked_to_and_ends_when_told_to() {
    let house = House::new("keep");
    let mut demo = Program::start(program::hitless(), ["demo", "--keep"], &house.variables());
    demo.says("It goes on until Ctrl-C", SHOW_WITHIN).await;
    let app = demo.says("the app  http://", SOON).await;
    let address = app.trim_start_matches(|c: char| !c.is_ascii_digit());
    let address = address.trim_end_matches('/').parse().expect("an address");
    assert_eq!(fetch_path(address, "/").await.version(), Some(2));
    let control = demo.says("control  /", SOON).await;
    let control = control.trim_start().trim_start_matches("control").trim();
    let deploy = demo.says("echo --version=8 > ", SOON).await;
    let (_, options) = deploy.rsplit_once("> ").expect("it names the file");
    std::fs::write(options, "--version=8\n").expect("it can be written");
    let reload = ["reload", "--control", control];
    let ran: Ran = program::run(program::hitless(), reload, &[], SOON).await;
    ran.expect_status(0, "a reload of what was kept");
    // The curtain is open: the app's output and the log can be seen.
    demo.says("version 8 on 127.0.0.1:", SOON).await;
    assert_eq!(fetch_path(address, "/").await.version(), Some(8));
    demo.signal(Signal::TERM);
    assert_eq!(demo.ends(SOON).await, 0, "{}", demo.output());
    house.expect_nothing_left();
}

#[tokio::test]
async fn an_interrupted_show_leaves_nothing_behind() {
    let house = House::new("interrupted");
    let mut demo = Program::start(program::hitless(), ["demo"], &house.variables());
    demo.says("1. a good reload", SHOW_WITHIN).await;
    demo.signal(Signal::INT);
    assert_eq!(demo.ends(SOON).await, 1, "{}", demo.output());
    let output = demo.output();
    assert!(
        output.contains("Interrupted: the acts that are left"),
        "{output}"
    );
    assert!(!output.contains("What the clients saw"), "{output}");
    house.expect_nothing_left();
}

#[tokio::test]
async fn says_what_to_do_where_no_folder_can_be_made() {
    let variables = [("TMPDIR", "/nowhere/at/all")];
    let ran = program::run(program::hitless(), ["demo"], &variables, SOON).await;
    let ran = ran.expect_status(1, "a demo without a folder");
    assert_eq!(ran.stdout, "");
    expect![[r#"
        hitless: cannot make a folder in /nowhere/at/all (No such file or directory (os error 2)): name another one in TMPDIR
    "#]]
    .assert_eq(&ran.stderr);
}

// === what is seen ===

/// What comes before the table, and from it on, with figures masked.
#[track_caller]
fn parted(text: &str) -> (String, String) {
    let masked = masked(text);
    let table = masked.find("requests failed slowest").expect("a table");
    let line = masked[..table].rfind('\n').map_or(0, |end| end + 1);
    (masked[..line].to_owned(), masked[line..].to_owned())
}

/// The table and what the clients saw in all: the same on a terminal and on a pipe.
#[track_caller]
fn expect_end(end: &str) {
    expect![[r#"
                                                  requests failed slowest versions
        ok quiet: nothing is changed # 0 # s 1
        ok 1 a good reload # 0 # s 1 > 2 generation 2 is live after # s
        ok 2 a version that dies at start # 0 # s 2 generation 3 did not go live: exited with status 3 before it was ready
        ok 3 a version that never gets ready # 0 # s 2 generation 4 did not go live: not ready within start_timeout
        ok 4 one that goes live and crashes # 0 # s 2 > 5 > 2 generation 5 is live after # s; taken back after # s: exited with status 5 while it served
        ok 5 one that goes live and answers 500 # 0 # s 2 generation 6 is live after # s; taken back after # s: # % of its last # answers were bad (before: # %)
        ok 6 a good one, and a rollback # 0 # s 2 > 7 > 2 generation 7 is live after # s; rollback: generation 2 serves again after # s

        What the clients saw in # s
          # requests and WebSocket messages, all checked
          0 of them failed
          0 connections closed that a client would have gone on using
        Versions that answered
          1 from # s to # s, # answers; a WebSocket of it to # s
          2 from # s to # s, # answers
          5 from # s to # s, # answers
          7 from # s to # s, # answers
        Not promised, counted apart: what may not be sent twice
          # uploads that version 5 had when it crashed
          # downloads that version 5 had begun to answer when it crashed
          # uploads that version 6 answered with 500
          # WebSockets closed in order (1012), and opened again by their clients
        Slowest: from request to answer, less the time that the app itself took. What
          a version had under way when it was taken back began anew: up to # s.
        Six changes, four of them bad: no request failed.
    "#]]
    .assert_eq(end);
}

#[track_caller]
fn expect_narrow(text: &str) {
    let wide: Vec<_> = text
        .lines()
        .filter(|line| line.chars().count() > COLUMNS)
        .collect();
    assert!(wide.is_empty(), "wider than {COLUMNS} columns: {wide:#?}");
}

/// A terminal that knows what the show needs. Whatever else comes fails the test.
#[derive(Default)]
struct Terminal {
    lines: Vec<String>,
    row: usize,
    column: usize,
}

impl Terminal {
    fn take(&mut self, written: &str) {
        let mut characters = written.chars();
        while let Some(character) = characters.next() {
            match character {
                '\r' => self.column = 0,
                '\n' => self.row += 1,
                '\x1b' => {
                    assert_eq!(characters.next(), Some('['), "{written:?}");
                    let end = |c: &char| c.is_ascii_alphabetic();
                    let mut number = String::new();
                    let word = characters.by_ref().inspect(|c| number.push(*c)).find(end);
                    number.pop();
                    self.obey(word.expect("a sequence has an end"), &number);
                }
                _ => self.put(character),
            }
        }
    }

    fn obey(&mut self, word: char, number: &str) {
        match word {
            'A' => {
                let up = number.parse().expect("a number of lines");
                assert!(up < ROWS, "{up} lines up: more than the terminal has");
                self.row = self.row.checked_sub(up).expect("not above the first line");
            }
            'J' => self.lines.truncate(self.row),
            'K' => {
                let column = self.column;
                self.line().truncate(column);
            }
            'm' => {}
            other => panic!("unknown: {number}{other}"),
        }
    }

    fn put(&mut self, character: char) {
        assert!(character.is_ascii(), "columns are bytes here");
        assert!(self.column < COLUMNS, "too wide: {:?}", self.line());
        let column = self.column;
        let line = self.line();
        if column < line.len() {
            line.replace_range(column..=column, &character.to_string());
        } else {
            line.push(character);
        }
        self.column += 1;
    }

    fn line(&mut self) -> &mut String {
        if self.lines.len() <= self.row {
            self.lines.resize(self.row + 1, String::new());
        }
        &mut self.lines[self.row]
    }

    fn text(&self) -> String {
        self.lines.iter().fold(String::new(), |mut text, line| {
            writeln!(text, "{line}").expect("a String takes it");
            text
        })
    }
}

// === figures ===

/// What stands in lines of its own below something else.
const SENTENCES: [&str; 3] = ["answered by ", "last check: ", "last output: "];

/// With what was measured as `#`, and each wrapped text in one line, for where it is wrapped depends on the figures.
fn masked(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let words = line.trim_start();
        let indent = line.len() - words.len();
        let own = SENTENCES.iter().any(|sentence| words.starts_with(sentence));
        let goes_on = (indent == 6 || indent == 12) && !words.is_empty() && !own;
        match lines.last_mut() {
            Some(last) if goes_on => *last = format!("{last} {words}"),
            _ => lines.push(line.to_owned()),
        }
    }
    let lines = lines.iter().map(|line| masked_line(line) + "\n");
    // Whether a crash is first seen by its exit or by the connections that it breaks is a race.
    let text: String = lines.collect();
    text.replace("after it had served", "while it served")
}

fn masked_line(line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    let masked: Vec<_> = (0..words.len()).map(|at| masked_word(&words, at)).collect();
    let indent = line.len() - line.trim_start().len();
    // Numbers are aligned to the right.
    let indent = if masked.first().is_some_and(|word| is_figure(word)) {
        2
    } else {
        indent
    };
    " ".repeat(indent) + &masked.join(" ")
}

fn is_figure(word: &str) -> bool {
    word == "#" || word.parse::<u64>().is_ok()
}

/// Failures, versions, generations and statuses stay.
fn masked_word(words: &[&str], at: usize) -> String {
    let word = words[at];
    let next = |step: usize| words.get(at + step).copied().unwrap_or_default();
    let after = next(1).trim_end_matches([',', ';', ':', '.', ')']);
    let is_number = |word: &str| word.parse::<f64>().is_ok();
    let is_unit = |word: &str| word == "ms" || word == "s";
    let counted = [
        "%",
        "answers",
        "downloads",
        "ms",
        "requests",
        "s",
        "uploads",
        "WebSockets",
    ];
    if let Some((before, rest)) = word.split_once("127.0.0.1:") {
        let port = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        return format!("{before}127.0.0.1:#{port}");
    }
    if word.starts_with("demo-app[") {
        return "demo-app[#]:".to_owned();
    }
    // In a row of the table: requests, failed, slowest with its unit.
    let in_table = is_number(word) && is_number(next(1)) && is_unit(next(3));
    if in_table || (counted.contains(&after) && is_number(word)) {
        return "#".to_owned();
    }
    match word.trim_end_matches([',', ';', ':', '.', ')']) {
        // The unit changes with the figure.
        "ms" | "s" if at > 0 && is_number(words[at - 1]) => word.replace("ms", "s"),
        _ => word.to_owned(),
    }
}
