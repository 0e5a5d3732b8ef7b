//! Rules on names and words: no folders' `mod.rs`, no drawers for odds and ends, no machine paths, no loose ends.

use super::Text;

/// Names that say nothing about what is inside.
const DRAWERS: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc"];
/// Paths that only one machine has. Taken apart so that this file keeps its own rule.
const MACHINE_PATHS: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/tmp/up", "stream"), concat!("/root/", ".cargo"), concat!("/root/", ".pyenv")];
/// Marks of unfinished work that must name an issue.
const LOOSE_ENDS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("HA", "CK:")];

/// Complaints about one file.
pub(crate) fn check(file: &Text) -> Vec<String> {
    let mut complaints = Vec::new();
    let path = &file.path;
    if path.ends_with("/mod.rs") {
        complaints.push(format!("{path}: a module's own file is named after it: foo.rs beside foo/"));
    }
    let in_code = path.starts_with("crates/") || path.starts_with("xtask/");
    for part in path.split('/').map(|p| p.split('.').next().unwrap_or(p)).filter(|_| in_code) {
        if DRAWERS.contains(&part) {
            complaints.push(format!("{path}: {part:?} says nothing; name it after what it holds"));
        }
    }
    for (number, line) in (1..).zip(file.text.lines()) {
        if MACHINE_PATHS.iter().any(|p| line.contains(p)) {
            complaints.push(format!("{path}:{number}: a path that only one machine has"));
        }
        if let Some(mark) = loose_end(line) {
            complaints.push(format!("{path}:{number}: {mark} needs an issue's number, as {mark}(#12)"));
        }
    }
    complaints
}

fn loose_end(line: &str) -> Option<&'static str> {
    LOOSE_ENDS.iter().copied().find(|mark| {
        line.match_indices(mark).any(|(at, _)| {
            let starts_word = !line.get(..at).unwrap_or_default().ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let after = line.get(at + mark.len()..).unwrap_or_default();
            let ends_word = !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
            let numbered = after.strip_prefix("(#").is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()));
            starts_word && (ends_word || mark.ends_with(':')) && !numbered
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> Vec<String> {
        check(&Text { path: path.into(), text: text.into() })
    }

    #[test]
    fn names_that_say_nothing_are_refused() {
        for path in ["crates/a/src/mod.rs", "crates/a/src/util.rs", "crates/a/src/common/x.rs", "crates/helpers/src/lib.rs"] {
            assert_eq!(complaints(path, "").len(), 1, "{path}");
        }
        for path in ["crates/a/src/commonwealth.rs", "docs/util/x.md", "crates/a/src/modes.rs"] {
            assert!(complaints(path, "").is_empty(), "{path}");
        }
    }

    #[test]
    fn loose_ends_need_a_number() {
        let todo = concat!("TO", "DO");
        assert_eq!(complaints("a.rs", &format!("// {todo}: later")).len(), 1);
        assert_eq!(complaints("a.rs", &format!("// {todo}(#x): later")).len(), 1);
        assert!(complaints("a.rs", &format!("// {todo}(#12): later")).is_empty());
        assert!(complaints("a.rs", &format!("let context_{todo} = 1; // {todo}S")).is_empty());
    }

    #[test]
    fn machine_paths_are_refused() {
        assert_eq!(complaints("a.md", concat!("see /wo", "rk/shared")), ["a.md:1: a path that only one machine has"]);
        assert!(complaints("a.md", "see /var/lib/ferry").is_empty());
    }
}
