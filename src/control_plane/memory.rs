//! Whether a second generation fits into memory: what is free here, and what the first one has resident.
//!
//! Reads `/proc` and `/sys/fs/cgroup` and nothing else; blocks for as long as that takes. Decides nothing.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How much memory may still be used, and by whose word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Available {
    /// In bytes.
    pub bytes: u64,
    /// The limit of the cgroup that leaves so little; none: it is the machine that does.
    pub limit: Option<u64>,
}

/// What may still be used: what the machine has available, or what the limits of this process's cgroups leave, whichever
/// is less. What a cgroup could reclaim (inactive file cache) counts as free.
///
/// # Errors
///
/// `/proc/meminfo` cannot be read, as on a system without it. A cgroup that cannot be read has no limit.
pub fn available() -> io::Result<Available> {
    available_below(Path::new("/"))
}

/// How many bytes these processes, their process groups and all of their descendants have resident. Pages that they share
/// count more than once.
pub fn resident(pids: &[u32]) -> u64 {
    resident_below(Path::new("/"), pids)
}

/// Why `needed` bytes more may not fit, in a sentence; none: they do.
pub fn shortage(available: &Available, needed: u64) -> Option<String> {
    (needed > available.bytes).then(|| {
        let free = show(available.bytes);
        let limit = match available.limit {
            Some(limit) => format!("the cgroup's limit is {}", show(limit)),
            None => "of the machine's memory".to_owned(),
        };
        format!(
            "what runs has {} resident, and only {free} are free ({limit})",
            show(needed)
        )
    })
}

fn show(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

// === what is free ===

fn available_below(root: &Path) -> io::Result<Available> {
    let machine = Available {
        bytes: machine_available(root)?,
        limit: None,
    };
    let least = cgroups(root)
        .iter()
        .filter_map(|folder| left_in(folder))
        .chain([machine])
        .min_by_key(|available| available.bytes);
    Ok(least.expect("the machine is one of them"))
}

fn machine_available(root: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes
        .map(|kibibytes| kibibytes << 10)
        .ok_or_else(|| io::Error::other("/proc/meminfo has no MemAvailable"))
}

/// The folders of this process's memory cgroup and of all above it.
fn cgroups(root: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut folders = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let mount = match controllers {
            "" => "sys/fs/cgroup",
            _ if controllers.split(',').any(|name| name == "memory") => "sys/fs/cgroup/memory",
            _ => continue,
        };
        let mount = root.join(mount);
        let own = Path::new(path.trim_start_matches('/'));
        // In a container the path may be that of another namespace: what is not there says nothing.
        folders.extend(own.ancestors().map(|folder| mount.join(folder)));
    }
    folders
}

/// What the limit of one cgroup leaves; none where it has no limit. Version 2 by its names, else version 1.
fn left_in(folder: &Path) -> Option<Available> {
    let number = |name: &str| {
        let text = fs::read_to_string(folder.join(name)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let limit = number("memory.max").or_else(|| number("memory.limit_in_bytes"))?;
    let used = number("memory.current").or_else(|| number("memory.usage_in_bytes"))?;
    let reclaimable = reclaimable(folder);
    Some(Available {
        bytes: limit.saturating_sub(used.saturating_sub(reclaimable)),
        limit: Some(limit),
    })
}

fn reclaimable(folder: &Path) -> u64 {
    let text = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().parse().ok())
    };
    field("total_inactive_file ")
        .or_else(|| field("inactive_file "))
        .unwrap_or(0)
}

// === what is resident ===

fn resident_below(root: &Path, pids: &[u32]) -> u64 {
    let proc = root.join("proc");
    let family = family(&kin(&proc), pids);
    let pages: u64 = family
        .iter()
        .filter_map(|pid| resident_pages(&proc, *pid))
        .sum();
    pages * page_size()
}

fn page_size() -> u64 {
    u64::try_from(rustix::param::page_size()).unwrap_or(4096)
}

/// The parent and the process group of each process.
fn kin(proc: &Path) -> BTreeMap<u32, (u32, u32)> {
    let Ok(entries) = fs::read_dir(proc) else {
        return BTreeMap::new();
    };
    let pid = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let row = |pid: u32| {
        let stat = fs::read_to_string(proc.join(pid.to_string()).join("stat")).ok()?;
        // The name, in parentheses, may contain anything.
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace().skip(1);
        let mut next = || fields.next()?.parse().ok();
        Some((pid, (next()?, next()?)))
    };
    entries.filter_map(pid).filter_map(row).collect()
}

/// These processes, whoever is in a group that one of them leads (also when its parent is gone), and all that descend
/// from them.
fn family(kin: &BTreeMap<u32, (u32, u32)>, pids: &[u32]) -> HashSet<u32> {
    let mut family: HashSet<u32> = pids.iter().copied().collect();
    let members = kin.iter().filter(|(_, (_, group))| pids.contains(group));
    family.extend(members.map(|(pid, _)| *pid));
    loop {
        let children = kin
            .iter()
            .filter(|(_, (parent, _))| family.contains(parent));
        let more: Vec<_> = children
            .map(|(pid, _)| *pid)
            .filter(|pid| !family.contains(pid))
            .collect();
        if more.is_empty() {
            return family;
        }
        family.extend(more);
    }
}

fn resident_pages(proc: &Path, pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(proc.join(pid.to_string()).join("statm")).ok()?;
    statm.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const MEMINFO: (&str, &str) = (
        "proc/meminfo",
        "MemTotal: 9 kB\nMemAvailable:    2097152 kB\n",
    );

    #[test]
    fn without_a_limit_it_is_the_machines() {
        let root = root(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/app\n"),
            ("sys/fs/cgroup/app/memory.max", "max\n"),
        ]);
        let found = available_below(root.path()).unwrap();
        assert_eq!(
            found,
            Available {
                bytes: 2 << 30,
                limit: None
            }
        );
    }

    #[test]
    fn the_tightest_cgroup_above_counts_and_what_it_can_reclaim_is_free() {
        let root = root(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/pod/app\n"),
            ("sys/fs/cgroup/pod/app/memory.max", "max\n"),
            ("sys/fs/cgroup/pod/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/pod/memory.current", "1000000000\n"),
            (
                "sys/fs/cgroup/pod/memory.stat",
                "anon 5\ninactive_file 26258176\n",
            ),
        ]);
        let found = available_below(root.path()).unwrap();
        assert_eq!(
            found,
            Available {
                bytes: 100_000_000,
                limit: Some(1 << 30)
            }
        );
    }

    #[test]
    fn version_one_is_read_as_well() {
        let root = root(&[
            MEMINFO,
            ("proc/self/cgroup", "4:cpu,cpuacct:/x\n9:memory:/app\n"),
            ("sys/fs/cgroup/memory/app/memory.limit_in_bytes", "1000\n"),
            ("sys/fs/cgroup/memory/app/memory.usage_in_bytes", "400\n"),
        ]);
        let found = available_below(root.path()).unwrap();
        assert_eq!(
            found,
            Available {
                bytes: 600,
                limit: Some(1000)
            }
        );
    }

    #[test]
    fn children_and_orphans_of_the_group_count_with_their_parents() {
        let root = root(&[
            ("proc/10/stat", "10 (a) b) S 1 10"),
            ("proc/10/statm", "90 5 1"),
            ("proc/11/stat", "11 (child) S 10 10"),
            ("proc/11/statm", "90 7 1"),
            ("proc/13/stat", "13 (orphan) S 1 10"),
            ("proc/13/statm", "90 11 1"),
            ("proc/14/stat", "14 (its child, with a session) S 13 14"),
            ("proc/14/statm", "90 13 1"),
            ("proc/12/stat", "12 (other) S 1 12"),
            ("proc/12/statm", "90 100 1"),
        ]);
        assert_eq!(resident_below(root.path(), &[10]), 36 * page_size());
    }

    #[test]
    fn a_shortage_says_how_much_and_by_whose_word() {
        let available = Available {
            bytes: 300 << 20,
            limit: Some(1 << 30),
        };
        assert_eq!(shortage(&available, 300 << 20), None);
        assert_eq!(
            shortage(&available, 812 << 20).unwrap(),
            "what runs has 812 MiB resident, and only 300 MiB are free (the cgroup's limit is 1024 MiB)"
        );
    }
}
