//! What an app writes: lines, the last of which are kept in the journal of its generation, and all of which go to a sink.
//!
//! Reading never waits for the sink, so an app is never blocked by a slow reader of hitless's own output.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;

use super::journal::Journal;
use crate::generation::{AppName, GenerationId};
use crate::telemetry::log::AppFormat;

/// Where a line is cut, in bytes; what follows is another line.
const LINE_BYTES_MAX: usize = 16 << 10;

/// How many bytes are cut into lines before everybody else has a turn: an app may write nothing but newlines.
const TURN_BYTES_MAX: usize = 2 << 10;

/// The output of one generation, shared by its instances.
#[derive(Debug)]
pub struct Output {
    journal: Arc<Journal>,
    sink: Arc<dyn OutputSink>,
    /// How many pipes are open.
    open: watch::Sender<usize>,
}

/// One line without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Whose it is.
    pub app: AppName,
    /// Which start of the app wrote it.
    pub generation: GenerationId,
    /// Which instance of the generation, from 1.
    pub instance: u32,
    /// Where it was written to.
    pub stream: Stream,
    /// Which line of its generation, from 1.
    pub number: u64,
    /// When it was read.
    pub time: SystemTime,
    /// What was written; what is not UTF-8 is replaced.
    pub text: Arc<str>,
    /// What was written, where that is not UTF-8.
    pub raw: Option<Arc<[u8]>>,
}

/// Where a line was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Where every line of every app goes, beside the last ones that are kept.
pub trait OutputSink: fmt::Debug + Send + Sync {
    /// Takes one line. Must never wait: what does not fit is dropped and counted.
    fn take(&self, line: &Line);

    /// From now on lines have this shape; none: the usual one. Who shapes none has nothing to change.
    fn reshape(&self, _format: Option<AppFormat>) {}

    /// How many lines were dropped so far.
    fn dropped(&self) -> u64;

    /// Waits, at most that long, until what was taken has been written. Blocks the thread; for the end of the process.
    fn flush(&self, patience: Duration);
}

/// Cuts bytes into lines.
#[derive(Debug, Default)]
struct Cutter {
    rest: Vec<u8>,
}

/// One open pipe, counted until it is dropped.
#[derive(Debug)]
struct Pipe {
    output: Arc<Output>,
    instance: u32,
    stream: Stream,
    /// The same for one instance.
    of_instance: watch::Sender<usize>,
}

// === impl Output ===

impl Output {
    pub(super) fn new(journal: Arc<Journal>, sink: Arc<dyn OutputSink>) -> Arc<Self> {
        Arc::new(Self {
            journal,
            sink,
            open: watch::Sender::new(0),
        })
    }

    /// The last `count` lines, oldest first; 200 lines and 1 MiB are kept at most.
    pub fn last_lines(&self, count: usize) -> Vec<Line> {
        self.journal.last_lines(count)
    }

    /// Waits until no instance of the generation can write any more. A process that has left the instance's group may
    /// keep a pipe open for ever: wait with a limit. Cancel safe.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        closed(self.open.subscribe())
    }

    /// Reads both pipes of an instance in tasks of their own, until their ends. What is returned counts the open ones.
    pub(super) fn capture(
        self: &Arc<Self>,
        instance: u32,
        stdout: impl AsyncRead + Unpin + Send + 'static,
        stderr: impl AsyncRead + Unpin + Send + 'static,
    ) -> watch::Receiver<usize> {
        let (of_instance, open) = watch::channel(0);
        let pipe = |stream| Pipe::open(self, instance, stream, &of_instance);
        tokio::spawn(pipe(Stream::Stdout).read(stdout));
        tokio::spawn(pipe(Stream::Stderr).read(stderr));
        open
    }

    pub(super) fn write(&self, instance: u32, stream: Stream, bytes: &[u8]) {
        self.sink.take(&self.journal.push(instance, stream, bytes));
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.journal.ended();
    }
}

/// Waits until nothing is open, or nobody is left to say so.
pub(super) async fn closed(mut open: watch::Receiver<usize>) {
    let _ = open.wait_for(|open| *open == 0).await;
}

// === impl Line ===

impl Line {
    /// What was written.
    pub fn bytes(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.text.as_bytes())
    }
}

// === impl Cutter ===

impl Cutter {
    fn cut(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8])) {
        while let Some(at) = bytes.iter().position(|byte| *byte == b'\n') {
            self.fill(&bytes[..at], &mut line);
            line(self.rest.strip_suffix(b"\r").unwrap_or(&self.rest));
            self.rest.clear();
            bytes = &bytes[at + 1..];
        }
        self.fill(bytes, &mut line);
    }

    /// What was written last may lack its newline.
    fn end(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.rest.is_empty() {
            line(&self.rest);
            self.rest.clear();
        }
    }

    fn fill(&mut self, bytes: &[u8], line: &mut impl FnMut(&[u8])) {
        self.rest.extend_from_slice(bytes);
        while self.rest.len() > LINE_BYTES_MAX {
            let at = character_end(&self.rest, LINE_BYTES_MAX);
            line(&self.rest[..at]);
            self.rest.drain(..at);
        }
    }
}

/// `at`, or up to three bytes before it, so that no UTF-8 character is cut.
fn character_end(bytes: &[u8], at: usize) -> usize {
    let continues = |at: usize| bytes[at] & 0b1100_0000 == 0b1000_0000;
    (at - 3..=at).rev().find(|at| !continues(*at)).unwrap_or(at)
}

// === impl Pipe ===

impl Pipe {
    fn open(
        output: &Arc<Output>,
        instance: u32,
        stream: Stream,
        of_instance: &watch::Sender<usize>,
    ) -> Self {
        output.open.send_modify(|open| *open += 1);
        of_instance.send_modify(|open| *open += 1);
        Self {
            output: Arc::clone(output),
            instance,
            stream,
            of_instance: of_instance.clone(),
        }
    }

    async fn read(self, mut pipe: impl AsyncRead + Unpin) {
        let write = |line: &[u8]| self.output.write(self.instance, self.stream, line);
        let mut cutter = Cutter::default();
        let mut bytes = vec![0; LINE_BYTES_MAX];
        while let Ok(length @ 1..) = pipe.read(&mut bytes).await {
            for turn in bytes[..length].chunks(TURN_BYTES_MAX) {
                cutter.cut(turn, write);
                // An app that never stops to write must not hold up what else this thread does: probes, swaps, verdicts.
                tokio::task::yield_now().await;
            }
        }
        cutter.end(write);
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.of_instance.send_modify(|open| *open -= 1);
        self.output.open.send_modify(|open| *open -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::control_plane::process::journal::{Journals, KEPT_BYTES_MAX, KEPT_LINES_MAX};

    #[derive(Debug, Default)]
    struct Recorder(Mutex<Vec<Line>>);

    impl OutputSink for Recorder {
        fn take(&self, line: &Line) {
            self.0.lock().unwrap().push(line.clone());
        }

        fn dropped(&self) -> u64 {
            0
        }

        fn flush(&self, _: Duration) {}
    }

    fn output() -> (Arc<Output>, Arc<Recorder>) {
        let recorder = Arc::<Recorder>::default();
        let sink = Arc::clone(&recorder) as Arc<dyn OutputSink>;
        let output = Journals::default().output(&AppName::new("app"), GenerationId::FIRST, &sink);
        (output, recorder)
    }

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| &*line.text).collect()
    }

    #[tokio::test]
    async fn lines_are_whole_however_they_arrive_and_the_last_needs_no_end() {
        let (output, recorder) = output();
        let (mut stdout, out) = tokio::io::duplex(64);
        let (stderr, err) = tokio::io::duplex(64);
        let pipes = output.capture(2, out, err);
        for part in ["on", "e\r\n\ntw", "o\nlast words"] {
            stdout.write_all(part.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
        drop((stdout, stderr));
        output.ended().await;
        closed(pipes).await;
        assert_eq!(
            texts(&output.last_lines(10)),
            ["one", "", "two", "last words"]
        );
        assert_eq!(texts(&output.last_lines(1)), ["last words"]);
        let seen = recorder.0.lock().unwrap();
        assert_eq!(seen.len(), 4);
        assert!(
            seen.iter()
                .all(|line| line.instance == 2 && line.stream == Stream::Stdout)
        );
    }

    #[tokio::test]
    async fn an_app_that_never_stops_to_write_leaves_a_turn_to_everybody_else() {
        let (output, recorder) = output();
        let pipes = output.capture(1, tokio::io::repeat(b'\n'), tokio::io::empty());
        for _ in 0..50 {
            let before = recorder.0.lock().unwrap().len();
            tokio::task::yield_now().await;
            let lines = recorder.0.lock().unwrap().len() - before;
            assert!(lines <= TURN_BYTES_MAX, "{lines} lines in one turn");
        }
        assert!(!recorder.0.lock().unwrap().is_empty());
        drop(pipes);
    }

    #[test]
    fn a_long_line_is_cut_between_characters_and_nothing_of_it_is_lost() {
        let line = "ä".repeat(LINE_BYTES_MAX);
        let long = format!("x{line}\nnext");
        let mut lines = Vec::new();
        let mut cutter = Cutter::default();
        let mut keep = |line: &[u8]| lines.push(String::from_utf8(line.to_vec()).unwrap());
        cutter.cut(long.as_bytes(), &mut keep);
        cutter.end(&mut keep);
        assert!(lines.iter().all(|line| line.len() <= LINE_BYTES_MAX));
        assert_eq!(lines.pop().unwrap(), "next");
        assert_eq!(lines.concat(), format!("x{line}"));
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn two_hundred_lines_and_a_mebibyte_are_kept() {
        let (output, _) = output();
        for number in 0..1000 {
            output.write(1, Stream::Stderr, number.to_string().as_bytes());
        }
        let kept = output.last_lines(usize::MAX);
        assert_eq!(kept.len(), KEPT_LINES_MAX);
        assert_eq!(&*kept[0].text, "800");
        for _ in 0..100 {
            output.write(1, Stream::Stderr, &[b'x'; LINE_BYTES_MAX]);
        }
        let bytes: usize = output
            .last_lines(usize::MAX)
            .iter()
            .map(|line| line.text.len())
            .sum();
        assert_eq!(bytes, KEPT_BYTES_MAX);
    }
}
