//! Where lines leave hitless: standard output, standard error, or a file.
//!
//! Writes whole lines and blocks for as long as the reader does, so only threads made for it may use one. What cannot be
//! written is counted in lines and given up, never kept: a full disk must not become full memory.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

/// The owner writes, and its group reads: a log tells who asked for what.
const MODE: u32 = 0o640;

/// One place that lines go to.
#[derive(Debug)]
pub struct Outlet {
    to: To,
    /// That of a file of its own.
    file_state: Mutex<State>,
}

#[derive(Debug)]
enum To {
    Stdout,
    Stderr,
    File(File),
}

/// Lines that were not written, and why.
#[derive(Debug)]
pub struct Unwritten {
    /// How many; one that was cut in two counts.
    pub lines: u64,
    /// What the system said.
    pub error: io::Error,
}

/// How the last write ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    AtLineStart,
    /// In the middle of a line, whose rest is lost.
    Torn,
}

/// Standard output and standard error are written by several threads: one line at a time.
static STDOUT: Mutex<State> = Mutex::new(State::AtLineStart);
static STDERR: Mutex<State> = Mutex::new(State::AtLineStart);

/// Whether both are the same file, as with `2>&1`; then they share a lock.
static ARE_ONE: LazyLock<bool> = LazyLock::new(|| {
    let identity = |fd| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    match (
        identity(rustix::stdio::stdout()),
        identity(rustix::stdio::stderr()),
    ) {
        (Ok(stdout), Ok(stderr)) => stdout == stderr,
        _ => false,
    }
});

// === impl Outlet ===

impl Outlet {
    /// Standard output.
    pub fn stdout() -> Self {
        Self::new(To::Stdout)
    }

    /// Standard error.
    pub fn stderr() -> Self {
        Self::new(To::Stderr)
    }

    /// The end of a file, which is made if it is missing.
    ///
    /// # Errors
    ///
    /// The system's; a pipe that nobody reads is one.
    pub fn file(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(MODE)
            // A pipe without a reader must not hold up the start.
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(path)?;
        Ok(Self::new(To::File(file)))
    }

    fn new(to: To) -> Self {
        Self {
            to,
            file_state: Mutex::default(),
        }
    }

    /// Writes lines, each with its end. Waits for a reader that is slow.
    ///
    /// # Errors
    ///
    /// The lines that were not written. The next ones begin on a line of their own.
    pub fn write(&self, lines: &[u8]) -> Result<(), Unwritten> {
        let mut state = self.state();
        if *state == State::Torn {
            self.write_all(b"\n")
                .map_err(|(_, error)| unwritten(lines, error))?;
            *state = State::AtLineStart;
        }
        self.write_all(lines).map_err(|(written, error)| {
            let torn = written > 0 && lines[written - 1] != b'\n';
            *state = if torn {
                State::Torn
            } else {
                State::AtLineStart
            };
            unwritten(&lines[written..], error)
        })
    }

    /// All of it, or how much of it and what the system said then.
    fn write_all(&self, bytes: &[u8]) -> Result<(), (usize, Errno)> {
        let mut written = 0;
        while written < bytes.len() {
            match rustix::io::write(self.fd(), &bytes[written..]) {
                Ok(0) => return Err((written, Errno::IO)),
                Ok(length) => written += length,
                Err(Errno::INTR) => {}
                // Whoever shares the descriptor with us may have made it so.
                Err(Errno::AGAIN) => self.wait(),
                Err(error) => return Err((written, error)),
            }
        }
        Ok(())
    }

    fn wait(&self) {
        let fd = self.fd();
        // An error shows in the next write.
        let _ = poll(&mut [PollFd::new(&fd, PollFlags::OUT)], None);
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match &self.to {
            To::Stdout => rustix::stdio::stdout(),
            To::Stderr => rustix::stdio::stderr(),
            To::File(file) => file.as_fd(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = match &self.to {
            To::Stdout => &STDOUT,
            To::Stderr if *ARE_ONE => &STDOUT,
            To::Stderr => &STDERR,
            To::File(_) => &self.file_state,
        };
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unwritten(lines: &[u8], error: Errno) -> Unwritten {
    let lines = lines.iter().filter(|byte| **byte == b'\n').count();
    Unwritten {
        lines: lines as u64,
        error: error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn a_file_is_appended_to_and_not_for_everybody() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        for line in ["one\n", "two\n"] {
            Outlet::file(&path).unwrap().write(line.as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o137, 0, "{mode:o}");
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_counted_in_lines() {
        let outlet = Outlet::file(Path::new("/dev/full")).unwrap();
        let unwritten = outlet.write(b"one\ntwo\nthree\n").unwrap_err();
        assert_eq!(unwritten.lines, 3);
        assert_eq!(unwritten.error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn after_a_torn_line_the_next_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let outlet = Outlet::file(&path).unwrap();
        *outlet.state() = State::Torn;
        outlet.write(b"next\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "\nnext\n");
        assert_eq!(*outlet.state(), State::AtLineStart);
    }

    #[test]
    fn a_slow_reader_is_waited_for_though_the_descriptor_does_not_block() {
        let (mut reader, writer) = io::pipe().unwrap();
        let fd = OwnedFd::from(writer);
        rustix::io::ioctl_fionbio(&fd, true).unwrap();
        let outlet = Outlet::new(To::File(File::from(fd)));
        // More than a pipe holds.
        let lines = "x\n".repeat(100_000);
        let reading = std::thread::spawn(move || {
            let mut read = String::new();
            reader.read_to_string(&mut read).unwrap();
            read
        });
        outlet.write(lines.as_bytes()).unwrap();
        drop(outlet);
        assert_eq!(reading.join().unwrap(), lines);
    }

    #[test]
    fn a_reader_that_is_gone_is_an_error_and_no_signal() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let outlet = Outlet::new(To::File(File::from(OwnedFd::from(writer))));
        assert_eq!(outlet.write(b"a\nb\n").unwrap_err().lines, 2);
    }
}
