//! Who listens where, as `/proc` shows it: whether a port is held by the instance that was given it, and where an
//! instance listens instead.
//!
//! Blocks on file reads; for a thread that may.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::table::Table;

/// How much of a stranger's command line is told, in characters.
const COMMAND_CHARS_MAX: usize = 120;

/// The state of a listening socket in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// How an instance's processes are known: they descend from its first process, are in its group, or carry its name in
/// their environment (a daemon's trick is to lose both its parent and its group).
#[derive(Clone, Debug)]
pub(crate) struct Kin {
    pub(super) pid: u32,
    /// The variables that only this instance's processes have.
    pub(super) marks: Vec<String>,
}

/// Who holds a listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// The instance, or a descendant of it.
    Instance,
    /// A process that is none of its own.
    Stranger { pid: u32, command: String },
    /// `/proc` does not show it: another user's process, another namespace, none at all.
    Unknown,
}

/// A listening TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listener {
    address: SocketAddr,
    inode: u64,
}

// === impl Kin ===

impl Kin {
    /// Who listens where a connection to this address arrives.
    pub(crate) fn holder_of(&self, address: SocketAddr) -> Holder {
        let inodes = accepting(&listeners(), address);
        if inodes.is_empty() {
            return Holder::Unknown;
        }
        // A listener may be several sockets that share the load: each must be ours. Nearly always the first process has
        // them all, and the others of the machine need not be read.
        let mut left = inodes;
        let mut is_ours = |pids: &mut dyn Iterator<Item = u32>| {
            let ours = sockets_of(pids);
            left.retain(|inode| !ours.contains(inode));
            left.is_empty()
        };
        if is_ours(&mut iter::once(self.pid)) {
            return Holder::Instance;
        }
        let table = Table::read();
        let ours = self.pids(&table);
        if is_ours(&mut ours.iter().copied()) {
            return Holder::Instance;
        }
        table
            .iter()
            .map(|(pid, _)| pid)
            .filter(|pid| !ours.contains(pid))
            .find(|pid| !sockets_of([*pid]).is_disjoint(&left))
            .map_or(Holder::Unknown, stranger)
    }

    /// Whether this process, which the kernel named as the one that listens, is the instance's.
    pub(crate) fn holder_is(&self, pid: u32) -> Holder {
        if pid == self.pid {
            return Holder::Instance;
        }
        let table = Table::read();
        match table.row(pid) {
            None => Holder::Unknown,
            Some(_) if self.pids(&table).contains(&pid) => Holder::Instance,
            Some(_) => stranger(pid),
        }
    }

    /// Where the instance's processes listen, lowest port first.
    pub(crate) fn listening(&self) -> Vec<SocketAddr> {
        let sockets = sockets_of(self.pids(&Table::read()));
        let mut addresses: Vec<SocketAddr> = listeners()
            .iter()
            .filter(|listener| sockets.contains(&listener.inode))
            .map(|listener| listener.address)
            .collect();
        addresses.sort_unstable_by_key(|address| (address.port(), address.ip()));
        addresses.dedup();
        addresses
    }

    fn pids(&self, table: &Table) -> HashSet<u32> {
        table
            .iter()
            .filter(|(pid, row)| {
                row.group == self.pid || table.descends(*pid, self.pid) || self.is_marked(*pid)
            })
            .map(|(pid, _)| pid)
            .collect()
    }

    fn is_marked(&self, pid: u32) -> bool {
        let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else {
            return false;
        };
        let variables: HashSet<&[u8]> = environment.split(|byte| *byte == 0).collect();
        !self.marks.is_empty()
            && self
                .marks
                .iter()
                .all(|mark| variables.contains(mark.as_bytes()))
    }
}

/// Who has a listening socket that is in the way of one on this address.
pub(crate) fn occupant(address: SocketAddr) -> Option<Holder> {
    let listeners = listeners();
    let in_the_way = listeners.iter().filter(|listener| {
        let taken = listener.address.ip().to_canonical();
        let wanted = address.ip().to_canonical();
        let overlaps = taken == wanted || taken.is_unspecified() || wanted.is_unspecified();
        listener.address.port() == address.port() && overlaps
    });
    let inodes: HashSet<u64> = in_the_way.map(|listener| listener.inode).collect();
    let table = Table::read();
    let mut pids = table.iter().map(|(pid, _)| pid);
    let holder = pids.find(|pid| !sockets_of([*pid]).is_disjoint(&inodes))?;
    Some(stranger(holder))
}

/// What is known of a process.
pub(crate) fn described(pid: u32) -> Holder {
    stranger(pid)
}

fn stranger(pid: u32) -> Holder {
    let read = |name| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let mut command = read("cmdline");
    if command.is_empty() {
        command = read("comm");
    }
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    Holder::Stranger {
        pid,
        command: command.trim().chars().take(COMMAND_CHARS_MAX).collect(),
    }
}

/// The inodes of the sockets that these processes have open.
fn sockets_of(pids: impl IntoIterator<Item = u32>) -> HashSet<u64> {
    pids.into_iter()
        .flat_map(|pid| {
            fs::read_dir(format!("/proc/{pid}/fd"))
                .into_iter()
                .flatten()
        })
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter_map(|target| {
            let inode = target
                .to_str()?
                .strip_prefix("socket:[")?
                .strip_suffix(']')?;
            inode.parse().ok()
        })
        .collect()
}

/// The sockets that a connection to this address may arrive at. One bound to the very address goes before one bound to
/// all, as in the kernel.
fn accepting(listeners: &[Listener], address: SocketAddr) -> HashSet<u64> {
    let inodes = |bound: &dyn Fn(IpAddr) -> bool| -> HashSet<u64> {
        listeners
            .iter()
            .filter(|listener| listener.address.port() == address.port())
            .filter(|listener| bound(listener.address.ip()))
            .map(|listener| listener.inode)
            .collect()
    };
    let exact = inodes(&|ip| ip.to_canonical() == address.ip());
    if !exact.is_empty() {
        return exact;
    }
    inodes(&|ip| ip.is_unspecified() && (ip.is_ipv6() || address.is_ipv4()))
}

fn listeners() -> Vec<Listener> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| File::open(path).ok())
        .flat_map(|file| {
            // The kernel lists the listening sockets first: a hundred thousand connections are not read.
            BufReader::new(file)
                .lines()
                .skip(1)
                .map_while(Result::ok)
                .map_while(|line| parse(&line))
        })
        .collect()
}

/// `  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000  0 12345 …`; none for a socket
/// that does not listen.
fn parse(line: &str) -> Option<Listener> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, local, _, LISTENING, _, _, _, _, _, inode, ..] = fields[..] else {
        return None;
    };
    let (ip, port) = local.split_once(':')?;
    Some(Listener {
        address: SocketAddr::new(parse_ip(ip)?, u16::from_str_radix(port, 16).ok()?),
        inode: inode.parse().ok()?,
    })
}

/// Words of 32 bits in this machine's order, each of which holds bytes in the network's.
fn parse_ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn me() -> Kin {
        Kin {
            pid: std::process::id(),
            marks: Vec::new(),
        }
    }

    /// A process in whose tree nothing of this one is.
    fn somebody_else() -> Kin {
        Kin {
            pid: u32::MAX,
            marks: Vec::new(),
        }
    }

    #[test]
    fn the_process_that_listens_is_found_by_address_and_by_itself() {
        for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let bound = listener.local_addr().unwrap();
            let loopback = match bound.ip() {
                ip if ip.is_unspecified() => SocketAddr::from((Ipv4Addr::LOCALHOST, bound.port())),
                _ => bound,
            };
            assert_eq!(me().holder_of(loopback), Holder::Instance, "{address}");
            assert!(me().listening().contains(&bound), "{address}");
        }
    }

    #[test]
    fn a_stranger_is_named_by_number_and_command() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = somebody_else().holder_of(listener.local_addr().unwrap());
        let Holder::Stranger { pid, command } = holder else {
            panic!("{holder:?}");
        };
        assert_eq!(pid, std::process::id());
        assert!(command.contains("hitless"), "{command}");
        assert!(matches!(
            somebody_else().holder_is(pid),
            Holder::Stranger { .. }
        ));
        assert_eq!(me().holder_is(pid), Holder::Instance);
    }

    #[test]
    fn who_is_in_the_way_of_an_address_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let bound = listener.local_addr().unwrap();
        let all = SocketAddr::from((Ipv6Addr::UNSPECIFIED, bound.port()));
        for address in [bound, all] {
            let Some(Holder::Stranger { pid, .. }) = occupant(address) else {
                panic!("{address}");
            };
            assert_eq!(pid, std::process::id());
        }
        drop(listener);
        assert_eq!(occupant(bound), None);
    }

    #[test]
    fn what_nobody_shows_is_unknown() {
        let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = port.local_addr().unwrap();
        assert_eq!(me().holder_of(address), Holder::Unknown);
        assert_eq!(me().holder_is(u32::MAX), Holder::Unknown);
    }

    #[test]
    fn a_socket_on_the_very_address_goes_before_one_on_all() {
        let listener = |address: &str, inode| Listener {
            address: address.parse().unwrap(),
            inode,
        };
        let all = [
            listener("0.0.0.0:80", 1),
            listener("[::]:80", 2),
            listener("127.0.0.1:80", 3),
            listener("127.0.0.1:81", 4),
            listener("0.0.0.0:82", 5),
        ];
        let check = |address: &str, inodes: &[u64]| {
            let found = accepting(&all, address.parse().unwrap());
            assert_eq!(found, inodes.iter().copied().collect(), "{address}");
        };
        check("127.0.0.1:80", &[3]);
        check("[::1]:80", &[2]);
        check("127.0.0.1:82", &[5]);
        check("[::1]:82", &[]);
    }

    #[test]
    fn only_listening_rows_are_read() {
        let row = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0 100 0 0 10 0";
        let listener = parse(row).unwrap();
        assert_eq!((listener.address.port(), listener.inode), (8080, 12345));
        assert_eq!(parse(&row.replace(" 0A ", " 01 ")), None);
    }
}
