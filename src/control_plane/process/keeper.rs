//! The keeper: the small parent of all app processes, so that nothing is left behind when hitless is killed.
//!
//! The same binary, run by hitless as a hidden subcommand with its end of a socket pair as standard input. It forks and
//! execs on request, reaps everything, and says who exited. When the socket closes, for whatever reason, it kills
//! every group and every descendant that is left, and exits.
//!
//! It has one thread and stays that way: PDEATHSIG speaks of the thread that forked, and a fork beside other threads
//! may inherit a lock that nobody will ever release.

use std::collections::BTreeMap;
use std::env;
use std::fs::File;
use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{
    Pid, Resource, Rlimit, WaitId, WaitIdOptions, WaitIdStatus, getpid, getrlimit,
    kill_process_group, set_child_subreaper, setrlimit, setsid, waitid,
};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};

use super::protocol::{Exit, Inbox, Reply, Request, Signal, frame};
use super::{spawn, table};

/// How long the keeper tries to end everything before it gives up. What SIGKILL does not end hangs in the kernel.
const SWEEP_PATIENCE: Duration = Duration::from_secs(10);

/// How much is read at a time, in bytes.
const READ_BYTES: usize = 64 << 10;

/// The parent of all app processes.
#[derive(Debug)]
struct Keeper {
    socket: UnixStream,
    /// Readable when a child may have exited.
    children: UnixStream,
    inbox: Inbox,
    /// What came with the frame that is being collected: at most one frame with descriptors is under way, for the
    /// kernel ends a read at the bytes that carry some.
    descriptors: Vec<OwnedFd>,
    /// Instances that have not exited, by their number; the first process leads a group of the same number.
    instances: BTreeMap<u64, Pid>,
}

/// Whether hitless is still there.
#[derive(Debug, PartialEq, Eq)]
enum Peer {
    There,
    Gone,
}

/// What `hitless keeper [SOFT_DESCRIPTOR_LIMIT]` does, from its first line to its end. To be called before anything
/// else in the process, above all before it has a second thread.
pub fn main() -> ExitCode {
    match Keeper::begin() {
        Ok(mut keeper) => {
            keeper.serve();
            keeper.end()
        }
        Err(error) => {
            // Nobody is left to be told when this fails, too.
            let _ = writeln!(
                io::stderr(),
                "hitless keeper: {error} (hitless itself runs it; it is not meant to be run by hand)"
            );
            ExitCode::from(2)
        }
    }
}

// === impl Keeper ===

impl Keeper {
    fn begin() -> io::Result<Self> {
        let socket = take_socket()?;
        // A signal to hitless's group or terminal is hitless's business. EPERM: leads a session already.
        let _ = setsid();
        set_child_subreaper(Some(getpid()))?;
        // Handlers, and not "ignore": exec takes handlers back by itself, so nothing needs restoring in a child.
        let heard = Arc::new(AtomicBool::new(false));
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&heard))?;
        }
        let (children, rings) = UnixStream::pair()?;
        children.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(SIGCHLD, rings)?;
        restore_descriptor_limit();
        Ok(Self {
            socket,
            children,
            inbox: Inbox::default(),
            descriptors: Vec::new(),
            instances: BTreeMap::new(),
        })
    }

    /// Until the socket closes or says what nobody understands.
    fn serve(&mut self) {
        if self.reply(&Reply::Ready) == Peer::Gone {
            return;
        }
        loop {
            let mut ready = [
                PollFd::new(&self.children, PollFlags::IN),
                PollFd::new(&self.socket, PollFlags::IN),
            ];
            match poll(&mut ready, None) {
                Ok(_) => {}
                // The signal that interrupts may be the one about a child.
                Err(Errno::INTR) => continue,
                Err(_) => return,
            }
            let [exited, asked] = ready.map(|ready| !ready.revents().is_empty());
            if exited && self.reap() == Peer::Gone {
                return;
            }
            if asked && self.receive() == Peer::Gone {
                return;
            }
        }
    }

    /// Kills everything.
    fn end(self) -> ExitCode {
        for group in self.instances.values() {
            // Gone already is as good.
            let _ = kill_process_group(*group, rustix::process::Signal::KILL);
        }
        match table::sweep(SWEEP_PATIENCE) {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }

    fn receive(&mut self) -> Peer {
        let mut bytes = vec![0; READ_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let got = recvmsg(
            &self.socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            flags,
        );
        let length = match got {
            Ok(message) => message.bytes,
            Err(Errno::INTR | Errno::AGAIN) => return Peer::There,
            Err(_) => return Peer::Gone,
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        self.inbox.fill(&bytes[..length]);
        if length == 0 {
            return Peer::Gone;
        }
        self.perform()
    }

    /// Does all that has arrived whole.
    fn perform(&mut self) -> Peer {
        loop {
            let peer = match self.inbox.next() {
                Ok(Some(Request::Spawn(order))) => self.spawn(&order),
                Ok(Some(Request::Signal { id, signal })) => self.signal(id, signal),
                Ok(None) => return Peer::There,
                Err(_) => Peer::Gone,
            };
            if peer == Peer::Gone {
                return peer;
            }
        }
    }

    fn spawn(&mut self, order: &super::protocol::Spawn) -> Peer {
        let id = order.id;
        match spawn::spawn(order, std::mem::take(&mut self.descriptors)) {
            Ok(pid) => {
                self.instances.insert(id, pid);
                let pid = pid.as_raw_pid().unsigned_abs();
                self.reply(&Reply::Spawned { id, pid })
            }
            Err(failure) => self.reply(&Reply::SpawnFailed { id, failure }),
        }
    }

    /// To the group, whose number is not given out again while its first process is not reaped; and that is done here.
    fn signal(&self, id: u64, signal: Signal) -> Peer {
        if let Some(group) = self.instances.get(&id) {
            let signal = match signal {
                Signal::Terminate => rustix::process::Signal::TERM,
                Signal::Kill => rustix::process::Signal::KILL,
            };
            // A group that is gone has its exit on the way.
            let _ = kill_process_group(*group, signal);
        }
        Peer::There
    }

    /// Reports the instances that have exited, and reaps the orphans that have.
    fn reap(&mut self) -> Peer {
        while matches!(self.children.read(&mut [0; 64]), Ok(1..)) {}
        while something_exited() {
            let exited = self.exited();
            for (id, exit) in &exited {
                if self.reply(&Reply::Exited {
                    id: *id,
                    exit: *exit,
                }) == Peer::Gone
                {
                    return Peer::Gone;
                }
            }
            if exited.is_empty() && reap_orphans(&self.instances) == 0 {
                break;
            }
        }
        Peer::There
    }

    /// Takes out the instances whose first process has exited: looked at without reaping, so that its number stays
    /// taken while what is left of its group is killed; then reaped.
    fn exited(&mut self) -> Vec<(u64, Exit)> {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let mut exited = Vec::new();
        self.instances
            .retain(|id, pid| match waitid(WaitId::Pid(*pid), look) {
                Ok(Some(status)) => {
                    let _ = kill_process_group(*pid, rustix::process::Signal::KILL);
                    let reap = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
                    let _ = waitid(WaitId::Pid(*pid), reap);
                    exited.push((*id, exit(&status)));
                    false
                }
                _ => true,
            });
        exited
    }

    fn reply(&self, reply: &Reply) -> Peer {
        let Ok(bytes) = frame(reply) else {
            return Peer::Gone;
        };
        match (&self.socket).write_all(&bytes) {
            Ok(()) => Peer::There,
            Err(_) => Peer::Gone,
        }
    }
}

/// Moves the socket away from standard input and lets go of every other descriptor that was inherited: a listening
/// socket kept open here would outlive hitless.
fn take_socket() -> io::Result<UnixStream> {
    let stdin = io::stdin();
    rustix::net::sockopt::socket_type(&stdin)
        .map_err(|_| io::Error::other("standard input is not a socket"))?;
    let socket = rustix::io::fcntl_dupfd_cloexec(&stdin, 3)?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    drop(null);
    close_inherited(&socket)?;
    Ok(UnixStream::from(socket))
}

#[allow(
    unsafe_code,
    reason = "inherited descriptors have no owner in this process yet"
)]
fn close_inherited(kept: &OwnedFd) -> io::Result<()> {
    use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, RawFd};
    let numbers: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2 && *number != kept.as_raw_fd())
        .collect();
    for number in numbers {
        // SAFETY: only asked whether it is open; the one that listed the folder no longer is.
        let open = rustix::io::fcntl_getfd(unsafe { BorrowedFd::borrow_raw(number) }).is_ok();
        if open {
            // SAFETY: nothing in this process has opened it: this is the first thing that the process does.
            drop(unsafe { OwnedFd::from_raw_fd(number) });
        }
    }
    Ok(())
}

/// Apps get the limit that hitless was started with, also from a keeper started after hitless had raised its own.
fn restore_descriptor_limit() {
    let Some(soft) = env::args().nth(2).and_then(|limit| limit.parse().ok()) else {
        return;
    };
    let limit = Rlimit {
        current: Some(soft),
        ..getrlimit(Resource::Nofile)
    };
    // A lower soft limit is always allowed.
    let _ = setrlimit(Resource::Nofile, limit);
}

fn something_exited() -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::All, look), Ok(Some(_)))
}

/// Processes that lost their own parent are reaped by their number: reaping whoever comes first might take an instance.
fn reap_orphans(instances: &BTreeMap<u64, Pid>) -> usize {
    let me = getpid().as_raw_pid().unsigned_abs();
    table::Table::read()
        .iter()
        .filter(|(_, row)| row.parent == me && row.zombie)
        .filter_map(|(number, _)| table::pid(number))
        .filter(|pid| !instances.values().any(|first| first == pid))
        .filter(|pid| {
            let reap = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            matches!(waitid(WaitId::Pid(*pid), reap), Ok(Some(_)))
        })
        .count()
}

fn exit(status: &WaitIdStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(status), _) => Exit::Status(status),
        (None, signal) => Exit::Signal(signal.unwrap_or(0)),
    }
}
