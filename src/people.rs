//! Names and numbers of users and groups, as `/etc/passwd` and `/etc/group` have them. A directory service is not asked: its
//! users are shown by their numbers.

use std::path::Path;

const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

pub fn user_name(uid: u32) -> Option<String> {
    name_of(&read(USERS), uid)
}

pub fn group_name(gid: u32) -> Option<String> {
    name_of(&read(GROUPS), gid)
}

/// Of a name, or of a number in digits.
pub fn group_id(name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| number_of(&read(GROUPS), name))
}

/// Whether a group bears its only member's name, as distributions make one for each user.
pub fn is_own_group(user: &str, gid: u32) -> bool {
    is_own(&read(USERS), &read(GROUPS), user, gid)
}

fn is_own(users: &str, groups: &str, user: &str, gid: u32) -> bool {
    let Some(line) = groups.lines().find(|line| line.split(':').nth(2).is_some_and(|known| known == gid.to_string()))
    else {
        return false;
    };
    let mut fields = line.split(':');
    let (name, members) = (fields.next().unwrap_or_default(), fields.nth(2).unwrap_or_default());
    let strangers = users.lines().filter(|line| {
        let mut fields = line.split(':');
        fields.next() != Some(user) && fields.nth(2).is_some_and(|group| group == gid.to_string())
    });
    name == user && members.split(',').all(|member| member.is_empty() || member == user) && strangers.count() == 0
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(path)).unwrap_or_default()
}

/// `name:password:number:…` in both files.
fn entries(text: &str) -> impl Iterator<Item = (&str, u32)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        Some((name, fields.nth(1)?.parse().ok()?))
    })
}

fn name_of(text: &str, number: u32) -> Option<String> {
    entries(text).find(|(_, known)| *known == number).map(|(name, _)| name.to_owned())
}

fn number_of(text: &str, name: &str) -> Option<u32> {
    entries(text).find(|(known, _)| *known == name).map(|(_, number)| number)
}

#[cfg(test)]
mod tests {
    use super::{is_own, name_of, number_of};

    #[test]
    fn a_users_own_group_has_his_name_and_nobody_else() {
        let users =
            "ivan:x:1000:1000::/home/ivan:/bin/sh\nolga:x:1001:1001::/home/olga:/bin/sh\nshop:x:1002:1001::/:/bin/sh\n";
        let groups = "ivan:x:1000:\nolga:x:1001:\nwork:x:1003:ivan\npetr:x:1004:petr,ivan\n";
        let table = [
            ("ivan", 1000, true),
            ("olga", 1001, false),
            ("ivan", 1003, false),
            ("petr", 1004, false),
            ("ivan", 7, false),
        ];
        for (user, gid, own) in table {
            assert_eq!(is_own(users, groups, user, gid), own, "{user} {gid}");
        }
    }

    #[test]
    fn names_and_numbers_are_found_and_broken_lines_passed_over() {
        let text = "root:x:0:0:root:/root:/bin/sh\n\nbroken\nodd:x:many:1\nivan:x:1000:1000::/home/ivan:/bin/sh\n";
        assert_eq!(name_of(text, 1000).as_deref(), Some("ivan"));
        assert_eq!(name_of(text, 7), None);
        assert_eq!(number_of(text, "root"), Some(0));
        assert_eq!(number_of(text, "odd"), None);
    }
}
