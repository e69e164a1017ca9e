//! Who may connect to a unix socket: its permissions, owner and group.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::{fs, str};

/// What is said about the file of a unix socket. What is not said stays as the system makes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Its permissions, up to `0o777`.
    pub mode: Option<u32>,
    /// Whose it is.
    pub owner: Option<Owner>,
    /// Its group.
    pub group: Option<Owner>,
}

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// By number.
    Id(u32),
    /// By the name that it has in `/etc/passwd` or `/etc/group`.
    Name(String),
}

// === impl Access ===

impl Access {
    /// Applies it to the file of a socket.
    ///
    /// # Errors
    ///
    /// The system's, or that there is no such user or group.
    pub fn apply(&self, path: &Path) -> io::Result<()> {
        let user = self
            .owner
            .as_ref()
            .map(|owner| owner.id("user", "/etc/passwd"));
        let group = self
            .group
            .as_ref()
            .map(|group| group.id("group", "/etc/group"));
        let (user, group) = (user.transpose()?, group.transpose()?);
        if user.is_some() || group.is_some() {
            std::os::unix::fs::chown(path, user, group).map_err(|error| {
                let why = format!("cannot give the socket to its owner and group: {error}");
                io::Error::new(error.kind(), why)
            })?;
        }
        match self.mode {
            Some(mode) => fs::set_permissions(path, fs::Permissions::from_mode(mode)),
            None => Ok(()),
        }
    }
}

impl Access {
    /// What is wrong with the names in it, on this machine, each in a sentence.
    pub fn unknown(&self) -> Vec<String> {
        let user = self.owner.as_ref();
        let user = user.map(|owner| owner.id("user", "/etc/passwd"));
        let group = self.group.as_ref();
        let group = group.map(|group| group.id("group", "/etc/group"));
        let asked = user.into_iter().chain(group);
        asked
            .filter_map(Result::err)
            .map(|error| error.to_string())
            .collect()
    }
}

// === impl Owner ===

impl Owner {
    fn id(&self, what: &str, table: &str) -> io::Result<u32> {
        match self {
            Self::Id(id) => Ok(*id),
            Self::Name(name) => find(&fs::read(table)?, name).ok_or_else(|| {
                let why = format!("there is no {what} {name} in {table}");
                io::Error::new(io::ErrorKind::NotFound, why)
            }),
        }
    }
}

/// The number in a line `name:x:number:…`.
fn find(table: &[u8], name: &str) -> Option<u32> {
    let rows = table.split(|byte| *byte == b'\n');
    rows.filter_map(|row| str::from_utf8(row).ok())
        .find_map(|row| {
            let mut fields = row.split(':');
            (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_with_its_number() {
        let table = b"root:x:0:0:root:/root:/bin/sh\n# a remark\nwww-data:x:33:33::/var/www:\n";
        assert_eq!(find(table, "www-data"), Some(33));
        assert_eq!(find(table, "root"), Some(0));
        assert_eq!(find(table, "www"), None);
    }

    #[test]
    fn who_is_not_there_is_named() {
        let access = Access {
            owner: Some(Owner::Name("nobody-of-that-name".to_owned())),
            ..Access::default()
        };
        let error = access.apply(Path::new("/nowhere")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no user nobody-of-that-name in /etc/passwd"
        );
    }
}
