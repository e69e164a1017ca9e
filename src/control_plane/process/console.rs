//! The default sink: app output goes on to hitless's own standard output and standard error, each line tagged with its
//! app and instance, as in `app.1 | listening`.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::output::{Line, OutputSink, Stream};

/// How many lines wait for a slow reader before lines are dropped.
const QUEUE_LINES_MAX: usize = 1024;

/// Writes lines on a thread of its own, so that nobody but this thread waits for whoever reads hitless's output.
#[derive(Debug)]
pub struct Console {
    queue: SyncSender<Job>,
    dropped: AtomicU64,
}

#[derive(Debug)]
enum Job {
    Write(Line),
    /// Everything before it is written.
    Flushed(SyncSender<()>),
}

// === impl Console ===

impl Console {
    /// Starts the thread. It ends when this is dropped.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub fn start() -> io::Result<Self> {
        Self::start_with(io::stdout(), io::stderr())
    }

    fn start_with(
        out: impl Write + Send + 'static,
        err: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, jobs) = sync_channel(QUEUE_LINES_MAX);
        thread::Builder::new()
            .name("app-output".to_owned())
            .spawn(move || work(&jobs, out, err))?;
        Ok(Self {
            queue,
            dropped: AtomicU64::new(0),
        })
    }
}

impl OutputSink for Console {
    fn take(&self, line: &Line) {
        if self.queue.try_send(Job::Write(line.clone())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn flush(&self, patience: Duration) {
        let (done, flushed) = sync_channel(1);
        // A full queue in front of a reader that has stopped is not worth waiting for.
        if self.queue.try_send(Job::Flushed(done)).is_ok() {
            let _ = flushed.recv_timeout(patience);
        }
    }
}

fn work(jobs: &Receiver<Job>, mut out: impl Write, mut err: impl Write) {
    for job in jobs {
        match job {
            // A closed output is no reason to stop reading the app's.
            Job::Write(line) => {
                let _ = match line.stream {
                    Stream::Stdout => write(&mut out, &line),
                    Stream::Stderr => write(&mut err, &line),
                };
            }
            Job::Flushed(done) => {
                let _ = done.send(());
            }
        }
    }
}

/// One write a line, so that lines of several writers to one terminal or file do not mix.
fn write(to: &mut impl Write, line: &Line) -> io::Result<()> {
    let tagged = format!("{}.{} | {}\n", line.app, line.instance, line.text);
    to.write_all(tagged.as_bytes())?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::{AppName, GenerationId};
    use std::sync::{Arc, Mutex};

    /// Counts writes; blocks while its gate is held.
    #[derive(Clone, Debug, Default)]
    struct Pipe(Arc<Mutex<Vec<String>>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            self.0.lock().unwrap().push(text);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line(stream: Stream, text: &str) -> Line {
        Line {
            app: AppName::new("shop"),
            generation: GenerationId::FIRST,
            instance: 2,
            stream,
            text: text.into(),
        }
    }

    #[test]
    fn each_line_is_one_tagged_write_to_its_own_stream() {
        let (out, err) = (Pipe::default(), Pipe::default());
        let console = Console::start_with(out.clone(), err.clone()).unwrap();
        console.take(&line(Stream::Stdout, "hello"));
        console.take(&line(Stream::Stderr, "oh"));
        console.flush(Duration::from_secs(10));
        assert_eq!(*out.0.lock().unwrap(), ["shop.2 | hello\n"]);
        assert_eq!(*err.0.lock().unwrap(), ["shop.2 | oh\n"]);
        assert_eq!(console.dropped(), 0);
    }

    #[test]
    fn a_slow_reader_costs_lines_and_never_time() {
        let out = Pipe::default();
        let console = Console::start_with(out.clone(), Pipe::default()).unwrap();
        let gate = out.0.lock().unwrap();
        for _ in 0..QUEUE_LINES_MAX + 10 {
            console.take(&line(Stream::Stdout, "x"));
        }
        // One line may be in the thread's hands.
        assert!(
            (9..=10).contains(&console.dropped()),
            "{}",
            console.dropped()
        );
        drop(gate);
    }
}
