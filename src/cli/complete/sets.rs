//! Node sets that are being written: what may follow, also behind a comma and inside of brackets.
//! Knows names, no daemon.

use crate::nodeset;

/// What parts the names of a set.
const PARTS: [char; 3] = [',', '!', '&'];

/// Where the part begins that is being written, and where the bracket in it that is open.
fn place(word: &str) -> (usize, Option<usize>) {
    let (mut part, mut open) = (0, None);
    for (at, letter) in word.char_indices() {
        match letter {
            '[' => open = Some(at),
            ']' => open = None,
            letter if open.is_none() && PARTS.contains(&letter) => part = at + 1,
            _ => {}
        }
    }
    (part, open)
}

/// The part of the word that is being written.
pub(super) fn last_part(word: &str) -> &str {
    parted(word).1
}

/// What stands before the part that is being written, and that part.
pub(super) fn parted(word: &str) -> (&str, &str) {
    word.split_at(place(word).0)
}

/// The word with each of the groups that its last part may become.
pub(super) fn with_groups(word: &str, groups: &[String]) -> Vec<String> {
    let (part, _) = place(word);
    let begun = word[part..].trim_start_matches('@');
    let fitting = groups.iter().filter(|group| group.starts_with(begun));
    fitting
        .map(|group| format!("{}@{group}", &word[..part]))
        .collect()
}

/// The word with each of the names that its last part may become, or with each number that its
/// bracket may have.
pub(super) fn with_names(word: &str, names: &[String]) -> Vec<String> {
    match place(word) {
        (part, None) => {
            let written: Vec<&str> = word[..part].split(PARTS).collect();
            let fitting = names.iter().filter(|name| {
                name.starts_with(&word[part..]) && !written.contains(&name.as_str())
            });
            fitting
                .map(|name| format!("{}{name}", &word[..part]))
                .collect()
        }
        (part, Some(open)) => in_bracket(word, part, open, names),
    }
}

/// `r1n[01,0` becomes `r1n[01,02]`, `r1n[01,03]` ...; `r1n[01-` what lies behind 01.
fn in_bracket(word: &str, part: usize, open: usize, names: &[String]) -> Vec<String> {
    // There may be brackets before: the first of what they stand for will do.
    let before = &word[part..open];
    let before = match before.contains('[') {
        true => nodeset::expand_pattern(before)
            .ok()
            .and_then(|some| some.into_iter().next()),
        false => Some(before.to_owned()),
    };
    let Some(before) = before else {
        return Vec::new();
    };
    let inside = &word[open + 1..];
    let last = inside.rfind([',', '-']).map_or(0, |at| at + 1);
    let (written, begun) = inside.split_at(last);
    let from = written.strip_suffix('-').map(|range| {
        let from = range.rsplit(',').next().unwrap_or_default();
        (from.len(), from.parse::<u64>().unwrap_or(u64::MAX))
    });
    let numbers: Vec<&str> = written.split([',', '-']).collect();
    let mut found: Vec<String> = Vec::new();
    for rest in names
        .iter()
        .filter_map(|name| name.strip_prefix(before.as_str()))
    {
        let end = rest.find(|letter: char| !letter.is_ascii_digit());
        let (digits, behind) = rest.split_at(end.unwrap_or(rest.len()));
        if digits.is_empty() || !digits.starts_with(begun) {
            continue;
        }
        let fits = match from {
            None => !numbers.contains(&digits),
            // Of both ends of a range one has as many digits as the other where there are zeros
            // before.
            Some((length, from)) => {
                let same = length == digits.len() || !digits.starts_with('0');
                same && digits.parse().is_ok_and(|number: u64| number > from)
            }
        };
        let candidate = format!("{}{written}{digits}]{behind}", &word[..=open]);
        if fits && !found.contains(&candidate) {
            found.push(candidate);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rack() -> Vec<String> {
        let plain = (1..=4).map(|n| format!("r1n{n:02}"));
        plain
            .chain(["n1-bmc", "n2-bmc", "r2n1"].map(str::to_owned))
            .collect()
    }

    #[test]
    fn names_follow_at_the_beginning_and_behind_a_comma() {
        let found = |word: &str| with_names(word, &rack()).join(" ");
        assert_eq!(found("r1"), "r1n01 r1n02 r1n03 r1n04");
        assert_eq!(found("r1n01,r1"), "r1n01,r1n02 r1n01,r1n03 r1n01,r1n04");
        assert_eq!(found("r1n[01-02],r2"), "r1n[01-02],r2n1");
        assert_eq!(found("@all!r2"), "@all!r2n1");
        assert_eq!(found("x"), "");
    }

    #[test]
    fn numbers_follow_inside_of_brackets() {
        let found = |word: &str| with_names(word, &rack()).join(" ");
        assert_eq!(found("r1n["), "r1n[01] r1n[02] r1n[03] r1n[04]");
        assert_eq!(found("r1n[01,0"), "r1n[01,02] r1n[01,03] r1n[01,04]");
        assert_eq!(found("r1n[02-"), "r1n[02-03] r1n[02-04]");
        assert_eq!(found("r2n1,r1n[01,03-"), "r2n1,r1n[01,03-04]");
        assert_eq!(found("n[1"), "n[1]-bmc");
        assert_eq!(
            found("r[1-2]n["),
            "r[1-2]n[01] r[1-2]n[02] r[1-2]n[03] r[1-2]n[04]"
        );
        assert_eq!(found("r1n[x"), "");
        assert_eq!(found("r[["), "");
    }

    #[test]
    fn groups_follow_their_sign() {
        let groups = ["compute", "storage"].map(str::to_owned);
        assert_eq!(with_groups("@", &groups), ["@compute", "@storage"]);
        assert_eq!(with_groups("r1n01,@st", &groups), ["r1n01,@storage"]);
        assert_eq!(last_part("r1n[01,02],@s"), "@s");
    }
}
