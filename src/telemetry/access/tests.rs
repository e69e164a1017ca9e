//! What comes out of the access log for what goes in.

use std::fs;
use std::net::IpAddr;

use tokio::time::Instant;

use super::*;

const SOON: Duration = Duration::from_secs(10);

struct World {
    folder: tempfile::TempDir,
    log: AccessLog,
}

impl World {
    fn new(format: Format) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let destination = Destination::File(folder.path().join("access.log"));
        let log = AccessLog::open(&destination, format, 1).unwrap().unwrap();
        Self { folder, log }
    }

    /// What is written of this request.
    fn line(format: Format, fill: impl FnOnce(&mut Draft)) -> String {
        let world = Self::new(format);
        let pen = world.log.pen();
        let mut draft = pen.begin(Instant::now());
        fill(&mut draft);
        pen.end(draft);
        drop(pen);
        world.read()
    }

    fn read(&self) -> String {
        self.log.flush(SOON);
        fs::read_to_string(self.folder.path().join("access.log")).unwrap()
    }
}

fn full(draft: &mut Draft) {
    draft.entry.client = Some(IpAddr::from([192, 0, 2, 7]));
    draft.entry.status = 200;
    draft.entry.total = Duration::from_micros(1_002_003);
    draft.entry.upstream_head = Some(Duration::from_micros(20));
    draft.entry.bytes_in = 5;
    draft.entry.bytes_out = 1234;
    draft.entry.generation = Some(3.into());
    draft.entry.instance = Some(2);
    draft.entry.resends = 1;
    draft.set(Text::App, b"web");
    draft.set(Text::Method, b"POST");
    draft.set(Text::Path, b"/a?b=c");
    draft.set(Text::UserAgent, b"curl/8");
    draft.set(Text::RequestId, b"abc");
}

#[test]
fn text_is_the_combined_format_with_more_behind_it() {
    let line = World::line(Format::Text, full);
    let (client, rest) = line.split_once(" - - [").unwrap();
    let (time, rest) = rest.split_once("] ").unwrap();
    assert_eq!(client, "192.0.2.7");
    assert!(
        time.len() == "25/Nov/2026:03:41:58 +0000".len() && time.ends_with(" +0000"),
        "{time}"
    );
    assert_eq!(
        rest,
        "\"POST /a?b=c HTTP/1.1\" 200 1234 \"-\" \"curl/8\" app=web generation=3 instance=2 \
         time=1.002003 head=0.000020 hold=0.000000 in=5 resends=1 reason=- id=abc\n"
    );
}

#[test]
fn json_has_the_same_keys_in_every_line() {
    let read = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let line = read(&World::line(Format::Json, full));
    assert_eq!(line["client"], "192.0.2.7");
    assert_eq!(line["total"], 1.002003);
    assert_eq!(line["referer"], serde_json::Value::Null);
    assert!(humantime::parse_rfc3339(line["time"].as_str().unwrap()).is_ok());
    let bare = read(&World::line(Format::Json, |draft| {
        draft.entry.status = 408;
        draft.entry.reason = Some("head_timeout");
    }));
    assert_eq!(bare["client"], "unix:");
    assert_eq!(bare["protocol"], serde_json::Value::Null);
    assert_eq!(bare["reason"], "head_timeout");
    let keys = |line: &serde_json::Value| {
        line.as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(&line), keys(&bare));
    assert_eq!(keys(&line).len(), 19);
}

#[test]
fn nothing_of_a_client_is_written_as_a_control_character() {
    let all: Vec<u8> = (0..=255).collect();
    let fill = |draft: &mut Draft| {
        for text in [
            Text::Method,
            Text::Path,
            Text::UserAgent,
            Text::Referer,
            Text::RequestId,
        ] {
            draft.set(text, &all);
        }
    };
    for format in [Format::Text, Format::Json] {
        let line = World::line(format, fill);
        let inner = line.strip_suffix('\n').unwrap();
        assert!(
            inner.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{line}"
        );
    }
    let text = World::line(Format::Text, |draft| {
        draft.set(Text::UserAgent, "a\"b\\c\x1b[31m\u{85}ä".as_bytes());
    });
    assert!(
        text.contains(r#""a\x22b\x5cc\x1b[31m\xc2\x85\xc3\xa4""#),
        "{text}"
    );
}

#[test]
fn json_gives_back_what_was_sent_where_it_is_text() {
    let sent = "a\"b\\c\t\u{1b}\u{85}ä 🦀";
    let line = World::line(Format::Json, |draft| {
        draft.set(Text::UserAgent, sent.as_bytes());
        draft.set(Text::Referer, b"\xff\xfe!");
    });
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["user_agent"], sent);
    assert_eq!(line["referer"], "\u{fffd}\u{fffd}!");
}

#[test]
fn a_long_text_is_cut() {
    let line = World::line(Format::Json, |draft| {
        draft.set(Text::Path, &[b'a'; 70_000]);
        draft.set(Text::UserAgent, b"after it");
    });
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let path = line["path"].as_str().unwrap();
    assert!(
        path.len() == 4096 && path.ends_with("a..."),
        "{}",
        path.len()
    );
    assert_eq!(line["user_agent"], "after it");
}

#[test]
fn lines_go_where_the_name_leads_once_it_is_opened_again() {
    let world = World::new(Format::Text);
    let (path, old) = (
        world.folder.path().join("access.log"),
        world.folder.path().join("old"),
    );
    let write = |status| {
        let pen = world.log.pen();
        let mut draft = pen.begin(Instant::now());
        draft.entry.status = status;
        pen.end(draft);
    };
    write(201);
    world.log.flush(SOON);
    fs::rename(&path, &old).unwrap();
    write(202);
    world.log.reopen();
    write(203);
    assert!(world.read().contains(" 203 "));
    let old = fs::read_to_string(old).unwrap();
    assert!(old.contains(" 201 ") && old.contains(" 202 ") && !old.contains(" 203 "));
}

#[tokio::test(start_paused = true)]
async fn a_single_line_is_handed_over_soon() {
    let world = World::new(Format::Text);
    let pen = world.log.pen();
    let draft = pen.begin(Instant::now());
    pen.end(draft);
    assert_eq!(world.read(), "");
    let handing = tokio::time::timeout(Duration::from_millis(150), pen.hand_over_in_time());
    assert!(handing.await.is_err(), "it goes on for ever");
    assert_eq!(world.read().lines().count(), 1);
}

#[test]
fn a_reader_that_has_stopped_costs_lines_that_are_counted_and_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
    let mut both = fs::OpenOptions::new();
    let reader = both.read(true).write(true).open(&path).unwrap();
    let destination = Destination::File(path);
    let log = AccessLog::open(&destination, Format::Text, 1)
        .unwrap()
        .unwrap();
    let pen = log.pen();
    let ended = 50_000;
    for _ in 0..ended {
        let mut draft = pen.begin(Instant::now());
        full(&mut draft);
        pen.end(draft);
    }
    let lost = log.dropped();
    assert!(lost > ended / 2 && lost < ended, "{lost}");
    // Once somebody reads again, all that was kept comes, each line whole.
    drop(pen);
    let reading = thread::spawn(move || {
        use std::io::{BufRead, BufReader};
        let lines = BufReader::new(reader).lines().map(Result::unwrap);
        let kept = usize::try_from(ended - lost).unwrap();
        lines.take(kept).all(|line| line.ends_with("id=abc"))
    });
    log.flush(SOON);
    assert!(reading.join().unwrap());
    assert_eq!(log.dropped(), lost);
}

#[test]
fn what_a_full_disk_does_not_take_is_counted() {
    let destination = Destination::File("/dev/full".into());
    let log = AccessLog::open(&destination, Format::Json, 1)
        .unwrap()
        .unwrap();
    let pen = log.pen();
    for _ in 0..3 {
        let draft = pen.begin(Instant::now());
        pen.end(draft);
    }
    drop(pen);
    log.flush(SOON);
    assert_eq!(log.dropped(), 3);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_that_says_what_to_do() {
    let destination = Destination::File("/nowhere/access.log".into());
    let error = AccessLog::open(&destination, Format::Text, 1)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("/nowhere/access.log") && error.contains("make its folder"),
        "{error}"
    );
}
