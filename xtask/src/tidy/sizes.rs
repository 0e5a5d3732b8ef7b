//! The ratchet: files and functions have a limit; what was over it when it was counted may shrink, never grow.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Text;
use super::rust::functions;

/// A file beyond this is two files.
const FILE_LINES_MAX: usize = 800;
/// A function beyond this is two functions.
const FUNCTION_LINES_MAX: usize = 70;

/// Lines by what was counted: `file PATH` or `function PATH NAME`.
pub(crate) struct Counted(BTreeMap<String, usize>);

impl Counted {
    /// What is over its limit.
    pub(crate) fn over(&self) -> impl Iterator<Item = (&str, usize)> {
        self.0.iter().filter(|(what, lines)| **lines > limit(what)).map(|(what, lines)| (what.as_str(), *lines))
    }
}

fn limit(what: &str) -> usize {
    if what.starts_with("file ") { FILE_LINES_MAX } else { FUNCTION_LINES_MAX }
}

/// Counts Rust files and their functions. Of functions with one name in one file the longest counts.
pub(crate) fn count<'a>(files: impl Iterator<Item = &'a Text>) -> Counted {
    let mut counted = BTreeMap::new();
    for file in files {
        counted.insert(format!("file {}", file.path), file.text.lines().count());
        for function in functions(&file.text) {
            let lines = counted.entry(format!("function {} {}", file.path, function.name)).or_insert(0);
            *lines = function.lines.max(*lines);
        }
    }
    Counted(counted)
}

/// The baseline as it should be committed.
pub(crate) fn baseline(counted: &Counted) -> String {
    let mut text = String::from(
        "# What is over its size limit, with its lines. It may shrink, never grow. `cargo xtask tidy --bless` writes this file.\n",
    );
    for (what, lines) in counted.over() {
        let _ = writeln!(text, "{lines} {what}");
    }
    text
}

/// Complaints about what is over its limit and not in the baseline, grown, or shrunk without the baseline following.
pub(crate) fn check(counted: &Counted, baseline: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut known = BTreeMap::new();
    for line in baseline.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        match line.split_once(' ').and_then(|(lines, what)| Some((what, lines.parse::<usize>().ok()?))) {
            Some((what, lines)) => drop(known.insert(what, lines)),
            None => complaints.push(format!("the size baseline has a line that is not one: {line:?}")),
        }
    }
    for (what, lines) in counted.over() {
        match known.remove(what) {
            None => complaints.push(format!("{what}: {lines} lines, over the limit of {}; split it", limit(what))),
            Some(before) if lines > before => {
                complaints.push(format!("{what}: grew from {before} to {lines} lines, over the limit of {}", limit(what)))
            }
            Some(before) if lines < before => {
                complaints.push(format!("{what}: shrank from {before} to {lines} lines; run cargo xtask tidy --bless to keep it so"))
            }
            Some(_) => {}
        }
    }
    complaints.extend(known.keys().map(|what| format!("{what}: no longer over its limit; run cargo xtask tidy --bless to keep it so")));
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(lines: usize) -> Counted {
        let body = "\n".repeat(lines - 1);
        count([Text { path: "a.rs".into(), text: format!("fn f() {{{body}}}") }].iter())
    }

    #[test]
    fn the_limit_is_reached_but_not_passed() {
        assert!(check(&counted(70), "").is_empty());
        assert_eq!(check(&counted(71), ""), ["function a.rs f: 71 lines, over the limit of 70; split it"]);
        assert_eq!(check(&counted(801), "801 function a.rs f\n").len(), 1, "the file is over its limit too");
    }

    #[test]
    fn the_baseline_only_goes_down() {
        let base = baseline(&counted(90));
        assert!(base.contains("90 function a.rs f\n"));
        assert!(check(&counted(90), &base).is_empty());
        assert!(check(&counted(91), &base)[0].contains("grew from 90 to 91"));
        assert!(check(&counted(80), &base)[0].contains("shrank from 90 to 80"));
        assert!(check(&counted(10), &base)[0].contains("no longer over"));
    }

    #[test]
    fn a_broken_baseline_is_named() {
        assert_eq!(check(&counted(1), "many function a.rs f").len(), 1);
    }
}
