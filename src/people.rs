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
    use super::{name_of, number_of};

    #[test]
    fn names_and_numbers_are_found_and_broken_lines_passed_over() {
        let text = "root:x:0:0:root:/root:/bin/sh\n\nbroken\nodd:x:many:1\nivan:x:1000:1000::/home/ivan:/bin/sh\n";
        assert_eq!(name_of(text, 1000).as_deref(), Some("ivan"));
        assert_eq!(name_of(text, 7), None);
        assert_eq!(number_of(text, "root"), Some(0));
        assert_eq!(number_of(text, "odd"), None);
    }
}
