//! The four calls that the standard library does not have. The only unsafe code of the lab.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

pub const IN: u32 = 0x1;
pub const OUT: u32 = 0x4;
/// Both ends of a connection that are gone, or an error: always told.
pub const GONE: u32 = 0x8 | 0x10;

const ADD: c_int = 1;
const DELETE: c_int = 2;
const CHANGE: c_int = 3;
const EVENTS_MAX: usize = 512;

#[repr(C)]
#[cfg_attr(target_arch = "x86_64", repr(packed))]
#[derive(Clone, Copy)]
struct RawEvent {
    events: u32,
    key: u64,
}

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

unsafe extern "C" {
    fn epoll_create1(flags: c_int) -> c_int;
    fn epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, event: *mut RawEvent) -> c_int;
    fn epoll_pwait2(
        epoll: c_int,
        events: *mut RawEvent,
        max: c_int,
        timeout: *const Timespec,
        signals: *const c_void,
    ) -> c_int;
    fn listen(fd: c_int, backlog: c_int) -> c_int;
}

/// Something happened to what was added under `key`.
pub struct Event {
    pub key: usize,
    pub events: u32,
}

pub struct Epoll {
    fd: c_int,
    buffer: Box<[RawEvent]>,
}

impl Epoll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers.
        let fd = check(unsafe { epoll_create1(0) })?;
        let none = RawEvent { events: 0, key: 0 };
        Ok(Self {
            fd,
            buffer: vec![none; EVENTS_MAX].into(),
        })
    }

    pub fn add(&self, source: &impl AsRawFd, key: usize, events: u32) -> io::Result<()> {
        self.control(ADD, source.as_raw_fd(), key, events)
    }

    pub fn change(&self, source: &impl AsRawFd, key: usize, events: u32) -> io::Result<()> {
        self.control(CHANGE, source.as_raw_fd(), key, events)
    }

    pub fn remove(&self, source: &impl AsRawFd) -> io::Result<()> {
        self.control(DELETE, source.as_raw_fd(), 0, 0)
    }

    fn control(&self, operation: c_int, fd: RawFd, key: usize, events: u32) -> io::Result<()> {
        let mut event = RawEvent {
            events,
            key: key as u64,
        };
        // SAFETY: the event outlives the call.
        check(unsafe { epoll_ctl(self.fd, operation, fd, &raw mut event) }).map(drop)
    }

    /// Waits for events; none: for ever.
    pub fn wait(&mut self, timeout: Option<Duration>, found: &mut Vec<Event>) -> io::Result<()> {
        let timeout = timeout.map(|timeout| Timespec {
            seconds: timeout.as_secs() as i64,
            nanoseconds: i64::from(timeout.subsec_nanos()),
        });
        let timeout = timeout
            .as_ref()
            .map_or(std::ptr::null(), std::ptr::from_ref);
        let (events, max) = (self.buffer.as_mut_ptr(), self.buffer.len() as c_int);
        // SAFETY: the buffer has room for `max` events, and the timeout outlives the call.
        let count = unsafe { epoll_pwait2(self.fd, events, max, timeout, std::ptr::null()) };
        found.clear();
        match check(count) {
            Ok(count) => {
                found.extend(self.buffer[..count as usize].iter().map(|event| Event {
                    key: event.key as usize,
                    events: event.events,
                }));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Makes the queue of a listening socket longer than the standard library's 128.
pub fn lengthen_queue(listener: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { listen(listener.as_raw_fd(), 4096) }).map(drop)
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
