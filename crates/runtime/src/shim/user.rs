//! From the user that was asked for to numbers, by the image's own /etc/passwd and /etc/group. Both are hostile input.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::spec::UserSpec;
use crate::wire::ResolvedUser;

/// The most that is read of either file.
const MAX_BYTES: u64 = 4 << 20;
/// The kernel's limit on supplementary groups.
const MAX_GROUPS: usize = 65_536;

/// Looks the user up in the files of folder `etc`. Missing files are empty ones.
pub(super) fn resolve(etc: &Path, asked: &UserSpec) -> Result<ResolvedUser, String> {
    find(&read(&etc.join("passwd")), &read(&etc.join("group")), asked)
}

/// A regular file's text, or nothing: a pipe or device there must not hold the start up.
fn read(path: &Path) -> String {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY).open(path);
    let Ok(file) = opened else { return String::new() };
    let mut bytes = Vec::new();
    if file.metadata().is_ok_and(|m| m.is_file()) {
        let _ = file.take(MAX_BYTES).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn find(passwd: &str, group: &str, asked: &UserSpec) -> Result<ResolvedUser, String> {
    let (user, named_group) = match asked.user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
        None => (asked.user.as_str(), None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let by_number = user.parse::<u32>().ok();
    let entry = passwd.lines().filter_map(Entry::parse).find(|e| if let Some(uid) = by_number { e.uid == uid } else { e.name == user });
    let uid = by_number
        .or(entry.as_ref().map(|e| e.uid))
        .ok_or_else(|| format!("unable to find user {user}: no matching entries in passwd file"))?;
    let gid = match (asked.group, named_group) {
        (Some(gid), _) => gid,
        (None, Some(name)) => group_number(group, name)?,
        (None, None) => entry.as_ref().map_or(0, |e| e.gid),
    };
    let mut groups = vec![gid];
    // The image's own memberships count when neither the pod nor the image names a group beside the user.
    if !asked.strict
        && let Some(entry) = &entry
    {
        groups.extend(memberships(group, entry.name));
    }
    groups.extend(&asked.supplemental);
    groups.sort_unstable();
    groups.dedup();
    groups.truncate(MAX_GROUPS);
    let home = entry.map(|e| e.home).filter(|home| !home.is_empty()).unwrap_or("/").to_owned();
    Ok(ResolvedUser { uid, gid, groups, home })
}

struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Entry<'a> {
    /// `name:password:uid:gid:comment:home:shell` (passwd(5)).
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Self { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
    }
}

/// The lines of group(5): name, number, members.
fn groups(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some((name, gid, fields.next().unwrap_or_default()))
    })
}

fn group_number(text: &str, name: &str) -> Result<u32, String> {
    let number = name.parse().ok().or_else(|| groups(text).find(|(known, _, _)| *known == name).map(|(_, gid, _)| gid));
    number.ok_or_else(|| format!("unable to find group {name}: no matching entries in group file"))
}

fn memberships(text: &str, user: &str) -> Vec<u32> {
    groups(text).filter(|(_, _, members)| members.split(',').any(|m| m == user)).map(|(_, gid, _)| gid).take(MAX_GROUPS).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken line\napp:x:1000:1001::/home/app:/bin/sh\n";
    const GROUP: &str = "root:x:0:\napp:x:1001:\nwheel:x:10:app,other\nstaff:x:50:app\n";

    fn ask(user: &str) -> UserSpec {
        UserSpec { user: user.into(), ..Default::default() }
    }

    #[test]
    fn names_numbers_and_groups() {
        let table: [(&str, u32, u32, &[u32], &str); 6] = [
            ("", 0, 0, &[0], "/root"),
            ("app", 1000, 1001, &[10, 50, 1001], "/home/app"),
            ("1000", 1000, 1001, &[10, 50, 1001], "/home/app"),
            ("app:staff", 1000, 50, &[10, 50], "/home/app"),
            ("4242", 4242, 0, &[0], "/"),
            ("4242:77", 4242, 77, &[77], "/"),
        ];
        for (user, uid, gid, groups, home) in table {
            let got = find(PASSWD, GROUP, &ask(user)).unwrap();
            assert_eq!((got.uid, got.gid, got.groups.as_slice(), got.home.as_str()), (uid, gid, groups, home), "{user:?}");
        }
        assert!(find(PASSWD, GROUP, &ask("nobody")).is_err());
        assert!(find(PASSWD, GROUP, &ask("app:nogroup")).is_err());
    }

    #[test]
    fn the_pod_overrides_and_strict_leaves_the_images_groups_out() {
        let asked = UserSpec { user: "app".into(), group: Some(7), supplemental: vec![9, 7], strict: true };
        assert_eq!(find(PASSWD, GROUP, &asked).unwrap().groups, [7, 9]);
        let merged = UserSpec { strict: false, ..asked };
        assert_eq!(find(PASSWD, GROUP, &merged).unwrap().groups, [7, 9, 10, 50]);
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic(passwd: String, group: String, user: String) {
            let _ = find(&passwd, &group, &ask(&user));
        }
    }
}
