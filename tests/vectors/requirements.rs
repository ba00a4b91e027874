//! Every MUST of SPEC.md has a test, and every citation of a requirement means one that exists.
//!
//! A test cites by a comment, `SPEC: R-...`; a vector of `rejected.json` in its `cites`. What has
//! no test stands in `untested.txt` with the reason.

use crate::support::{root, spec};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The requirements of the text: id to words.
fn requirements(text: &str) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut current = None;
    for line in text.lines() {
        if let Some((id, words)) = line
            .strip_prefix("- [R-")
            .and_then(|rest| rest.split_once("] "))
        {
            let id = format!("R-{id}");
            let old = found.insert(id.clone(), words.to_owned());
            assert_eq!(old, None, "{id} is there twice");
            current = Some(id);
        } else if let (Some(id), Some(more)) = (&current, line.strip_prefix("  ")) {
            let words = found.get_mut(id).unwrap();
            words.push(' ');
            words.push_str(more);
        } else {
            current = None;
        }
    }
    found
}

/// What a text cites: every `R-` with a name and a number behind it.
fn citations(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("R-") {
        let is_inside = text[..at]
            .chars()
            .next_back()
            .is_some_and(|c| c.is_alphanumeric() || c == '-' || c == '[');
        let id: String = text[at + 2..]
            .chars()
            .take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-')
            .collect();
        let is_numbered = id
            .rsplit_once('-')
            .is_some_and(|(name, number)| !name.is_empty() && number.parse::<u32>().is_ok());
        if !is_inside && is_numbered {
            found.insert(format!("R-{id}"));
        }
    }
    found
}

/// The part of a source file that is a test: all of it in a test's own file, what follows
/// `#[cfg(test)]` elsewhere.
fn test_part<'a>(path: &Path, text: &'a str) -> &'a str {
    let is_test = path.components().any(|part| part.as_os_str() == "tests")
        || path.file_name().is_some_and(|name| name == "tests.rs");
    if is_test {
        return text;
    }
    text.find("#[cfg(test)]").map_or("", |at| &text[at..])
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let is_source = path
            .extension()
            .is_some_and(|end| end == "rs" || end == "json");
        if path.is_dir() && !path.ends_with("target") {
            files.extend(sources(&path));
        } else if is_source {
            files.push(path);
        }
    }
    files
}

/// The lines of `untested.txt`: id to reason.
fn untested(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (id, reason) = line
                .split_once(": ")
                .unwrap_or_else(|| panic!("no reason: {line}"));
            (id.to_owned(), reason.to_owned())
        })
        .collect()
}

fn complaints(
    requirements: &BTreeMap<String, String>,
    cited: &BTreeSet<String>,
    tested: &BTreeSet<String>,
    untested: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut complaints = Vec::new();
    for id in cited.iter().filter(|id| !requirements.contains_key(*id)) {
        complaints.push(format!("{id} is cited and does not exist"));
    }
    for (id, words) in requirements {
        let is_must = words.contains("MUST");
        let reason = untested.get(id);
        match (is_must, tested.contains(id), reason) {
            (true, false, None) => complaints.push(format!("no test cites {id}: {words}")),
            (true, true, Some(_)) => {
                complaints.push(format!("{id} is tested: take it out of untested.txt"));
            }
            (false, _, Some(_)) => complaints.push(format!("{id} is no MUST: untested.txt")),
            _ => {}
        }
    }
    for id in untested.keys().filter(|id| !requirements.contains_key(*id)) {
        complaints.push(format!("untested.txt has {id}, which does not exist"));
    }
    complaints
}

#[test]
fn every_must_has_a_test() {
    let requirements = requirements(&spec());
    assert!(requirements.len() > 100, "the list of requirements is lost");
    let (mut cited, mut tested) = (BTreeSet::new(), BTreeSet::new());
    for path in ["proto", "src", "tests"]
        .iter()
        .flat_map(|dir| sources(&root().join(dir)))
    {
        if path.ends_with("tests/vectors/requirements.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        cited.extend(citations(&text));
        let relative = path.strip_prefix(root()).unwrap();
        tested.extend(citations(test_part(relative, &text)));
    }
    let untested =
        untested(&fs::read_to_string(root().join("tests/vectors/untested.txt")).unwrap());
    let complaints = complaints(&requirements, &cited, &tested, &untested);
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn anchors_that_the_code_names_exist() {
    let spec = spec();
    let mut named = 0;
    for path in ["proto", "src"]
        .iter()
        .flat_map(|dir| sources(&root().join(dir)))
    {
        // A comment may break anywhere: its lines are joined first.
        let text = fs::read_to_string(&path).unwrap();
        let text = text
            .lines()
            .map(|line| line.trim().trim_start_matches(['/', '!', ' ']))
            .collect::<Vec<_>>()
            .join(" ");
        for reference in text.split("SPEC.md, `").skip(1) {
            let end = reference.find(')').unwrap_or(reference.len());
            // "SPEC.md, `a` and `b`)" names two.
            for anchor in reference[..end].split('`').step_by(2) {
                let anchor = anchor.trim();
                let is_anchor = anchor.chars().all(|c| c.is_ascii_lowercase() || c == '-');
                assert!(
                    is_anchor && spec.contains(&format!("<a id=\"{anchor}\"></a>")),
                    "{}: {anchor}",
                    path.display()
                );
                named += 1;
                if !reference[..end].contains("` and `") {
                    break;
                }
            }
        }
    }
    assert!(named > 20, "only {named} references found");
}

#[test]
fn links_within_the_spec_lead_somewhere() {
    let spec = spec();
    for link in spec.split("](#").skip(1) {
        let anchor = link.split(')').next().unwrap();
        assert!(
            spec.contains(&format!("<a id=\"{anchor}\"></a>")),
            "#{anchor}"
        );
    }
}

#[test]
fn what_is_wrong_is_complained_about() {
    let spec = "- [R-a-1] It MUST\n  hold.\n- [R-a-2] It SHOULD.\n\n- [R-b-1] It MUST NOT.\n";
    let requirements = requirements(spec);
    assert_eq!(requirements["R-a-1"], "It MUST hold.");
    let set = |text: &str| citations(text);
    assert_eq!(set("// SPEC: R-a-1, R-b-1.").len(), 2);
    assert!(set("[R-a-1] TR-a-1 R-a R-1").is_empty());
    let lines = |cited: &str, tested: &str, allowed: &str| {
        complaints(&requirements, &set(cited), &set(tested), &untested(allowed)).len()
    };
    assert_eq!(lines("R-a-1 R-b-1", "R-a-1 R-b-1", ""), 0);
    assert_eq!(lines("R-a-1", "R-a-1", "# why\nR-b-1: it cannot\n"), 0);
    assert_eq!(lines("R-c-1 R-a-1 R-b-1", "R-a-1 R-b-1", ""), 1, "unknown");
    assert_eq!(lines("", "R-a-1", ""), 1, "untested");
    assert_eq!(
        lines("", "R-a-1 R-b-1", "R-b-1: x\nR-a-2: x\nR-z-1: x\n"),
        3
    );
}
