//! The house rules that a program can check: which floor may import which, and how long things may
//! be.
//!
//! CONTRIBUTING.md has the rules in words. Each check is tried here on samples that break it, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 70;
const MAX_COLUMNS: usize = 100;
/// Words that promise to do something later. They are put together here so that this file has none.
const PROMISES: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
];
/// Directories with Rust of our own.
const ROOTS: [&str; 7] = [
    "src", "proto", "tests", "examples", "fuzz", "lab", "benches",
];

/// What the rooms of the root package may import of each other. A name that is no room belongs to
/// the face.
const SRC_FLOORS: [(&str, &[&str]); 8] = [
    ("main", &["cli"]),
    ("lib", &["api", "runtime", "net", "storage", "sum"]),
    ("cli", &[]),
    ("runtime", &["net", "storage", "api"]),
    ("net", &["api"]),
    ("storage", &["api"]),
    ("sum", &["storage", "api"]),
    ("api", &[]),
];
/// The floors of the engine above the words, lowest first. Rooms of one floor do not import each
/// other.
const PROTO_FLOORS: [&[&str]; 5] = [
    // The packets themselves.
    &["wire"],
    // Mechanisms that stand alone.
    &["congestion", "pacing", "mtu", "fec", "file", "schedule"],
    // It reads frames and feeds the controller.
    &["recovery"],
    // The machines.
    &["session", "group"],
    // It makes machines.
    &["router"],
];

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut complaints = Vec::new();
    let mut edges = Vec::new();
    for path in ROOTS.iter().flat_map(|dir| rust_files(&root.join(dir))) {
        let text = fs::read_to_string(&path).unwrap();
        let name = path
            .strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap()
            .replace('\\', "/");
        complaints.extend(check_size(&name, &text));
        complaints.extend(check_functions(&name, &text));
        if let Some((package, module)) = module_of(&name) {
            let imports = imports_of(&module, &text);
            complaints.extend(check_floors(package, &name, &module, &imports));
            edges.extend(
                imports
                    .into_iter()
                    .map(|import| (package, module.clone(), import)),
            );
        }
    }
    complaints.extend(check_circles(&edges));
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn check_size(name: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let lines = text.lines().count();
    if lines >= MAX_FILE_LINES {
        complaints.push(format!("{name}: {lines} lines"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        let columns = line.chars().count();
        if columns > MAX_COLUMNS {
            complaints.push(format!("{name}:{number}: {columns} columns"));
        }
        if PROMISES.iter().any(|promise| line.contains(promise)) {
            complaints.push(format!("{name}:{number}: do it, or make it an issue"));
        }
    }
    complaints
}

/// rustfmt puts the closing brace of a function under its first letter, and so no brace is counted
/// here that stands in a string.
fn check_functions(name: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let lines: Vec<_> = text.lines().collect();
    for (start, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        if !is_function(line.trim_start()) || line.ends_with('}') {
            continue;
        }
        let closing = format!("{}}}", &line[..indent]);
        let end = lines[start..].iter().position(|line| *line == closing);
        // A function without a body ends with a semicolon before any such brace.
        let semicolon = lines[start..].iter().position(|line| line.ends_with(';'));
        let opening = lines[start..].iter().position(|line| line.ends_with('{'));
        let (Some(end), Some(opening)) = (end, opening) else {
            continue;
        };
        if semicolon.is_none_or(|semicolon| opening < semicolon) && end + 1 >= MAX_FUNCTION_LINES {
            complaints.push(format!(
                "{name}:{}: function of {} lines",
                start + 1,
                end + 1
            ));
        }
    }
    complaints
}

fn is_function(line: &str) -> bool {
    let mut words = line
        .split_whitespace()
        .take_while(|word| !word.starts_with("//"));
    let is_qualifier = |word: &&str| {
        let word: &str = word;
        word.starts_with("pub") || ["const", "async", "unsafe", "extern", "\"C\""].contains(&word)
    };
    words.find(|word| !is_qualifier(word)) == Some("fn")
}

/// The package and the path of the module in a file, for files that have a floor.
fn module_of(name: &str) -> Option<(&'static str, Vec<String>)> {
    let (package, inside) = match name.strip_prefix("proto/src/") {
        Some(inside) => ("proto", inside),
        None => ("src", name.strip_prefix("src/")?),
    };
    let mut module: Vec<_> = inside
        .strip_suffix(".rs")?
        .split('/')
        .map(String::from)
        .collect();
    if module.len() > 1 && module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    // Tests may look at anything.
    (!module.iter().any(|part| part == "tests")).then_some((package, module))
}

/// Every path within its own package that a file names outside of comments and tests, from the
/// root.
fn imports_of(module: &[String], text: &str) -> BTreeSet<Vec<String>> {
    let code: Vec<_> = text
        .lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let code = code.join("\n");
    let mut imports = BTreeSet::new();
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            for path in expand(&code[at..]) {
                imports.extend(resolve(module, &path));
            }
        }
    }
    imports
}

/// The paths of `a::b::{c, d::e}`: here `a::b::c` and `a::b::d::e`.
fn expand(text: &str) -> Vec<String> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    let (path, rest) = text.split_at(end.unwrap_or(text.len()));
    if !path.ends_with("::") || !rest.starts_with('{') {
        return vec![path.trim_end_matches(':').into()];
    }
    let mut depth = 0_usize;
    let mut inner = vec![String::new()];
    for c in rest.chars() {
        match c {
            '{' if depth == 0 => depth = 1,
            '}' if depth == 1 => break,
            ',' if depth == 1 => inner.push(String::new()),
            _ => {
                depth = match c {
                    '{' => depth + 1,
                    '}' => depth - 1,
                    _ => depth,
                };
                inner.last_mut().unwrap().push(c);
            }
        }
    }
    let inner = inner
        .iter()
        .map(|item| item.trim())
        .filter(|item| !item.is_empty());
    inner
        .flat_map(expand)
        .map(|item| format!("{path}{item}"))
        .collect()
}

/// A path from the root of the package. `None` where it leads to the root itself.
fn resolve(module: &[String], path: &str) -> Option<Vec<String>> {
    let mut base = module.to_vec();
    let mut rest = Vec::new();
    for part in path.split("::") {
        match part {
            "crate" => base.clear(),
            "super" => drop(base.pop()),
            "self" => {}
            other => rest.push(other.to_owned()),
        }
    }
    base.extend(rest);
    (!base.is_empty()).then_some(base)
}

fn check_floors(
    package: &str,
    name: &str,
    module: &[String],
    imports: &BTreeSet<Vec<String>>,
) -> Vec<String> {
    let from = module[0].as_str();
    let mut complaints = Vec::new();
    for import in imports {
        let to = import[0].as_str();
        let may = match package {
            "proto" => {
                from == "lib" || floor(from) > floor(to) || (floor(from) == 0 && floor(to) == 0)
            }
            _ => src_may(from, to),
        };
        if from != to && !may {
            complaints.push(format!(
                "{name}: {from} may not import {}",
                import.join("::")
            ));
        }
    }
    complaints
}

fn src_may(from: &str, to: &str) -> bool {
    // What is no room is a name that the root re-exports: the face.
    let to = SRC_FLOORS
        .iter()
        .map(|(room, _)| *room)
        .find(|room| *room == to)
        .unwrap_or("api");
    let floor = SRC_FLOORS.iter().find(|(room, _)| *room == from);
    from == to || floor.is_some_and(|(_, may)| may.contains(&to))
}

/// Words are on floor 0 and may import each other, as long as they form no circle.
fn floor(room: &str) -> usize {
    let above = PROTO_FLOORS.iter().position(|rooms| rooms.contains(&room));
    above.map_or(0, |at| at + 1)
}

type Edge = (&'static str, Vec<String>, Vec<String>);

/// Rooms must not form circles, on any floor.
fn check_circles(edges: &[Edge]) -> Vec<String> {
    let mut rooms: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for (package, from, to) in edges {
        let is_face = from[0] == "lib" || from[0] == "main";
        if from[0] != to[0] && !is_face {
            rooms.entry((package, &from[0])).or_default().insert(&to[0]);
        }
    }
    // Rooms that import only rooms outside of any circle are outside of any circle too.
    loop {
        let keys: BTreeSet<_> = rooms.keys().copied().collect();
        let is_free = |package: &str, to: &BTreeSet<&str>| {
            !to.iter().any(|to| keys.contains(&(package, *to)))
        };
        let before = rooms.len();
        rooms.retain(|(package, _), to| !is_free(package, to));
        if rooms.len() == before {
            break;
        }
    }
    let complain = |((package, from), to): (&(&str, &str), &BTreeSet<&str>)| {
        format!("{package}: {from} is in or above a circle through {to:?}")
    };
    rooms.iter().map(complain).collect()
}

#[cfg(test)]
mod checks {
    use super::*;

    fn complaints(name: &str, text: &str) -> Vec<String> {
        let (package, module) = module_of(name).unwrap();
        check_floors(package, name, &module, &imports_of(&module, text))
    }

    #[test]
    fn a_floor_imports_only_floors_below() {
        for (name, text) in [
            ("src/net/socket.rs", "use crate::storage::walk;"),
            ("src/storage/mod.rs", "use crate::runtime::clock;"),
            ("src/storage/mod.rs", "fn f() { crate::net::bind(); }"),
            ("src/net/a/b.rs", "use super::super::super::runtime::job;"),
            ("src/api.rs", "pub(crate) use crate::net::socket;"),
            ("src/runtime/mod.rs", "use crate::{net::x, cli::y};"),
            ("proto/src/wire/mod.rs", "use crate::session::Session;"),
            ("proto/src/file/mod.rs", "use crate::congestion::Pacer;"),
            ("proto/src/wire/mod.rs", "use crate::file::layout;"),
            (
                "proto/src/group/mod.rs",
                "use crate::{\n    id::SessionId,\n    session::Session,\n};",
            ),
            ("proto/src/session/mod.rs", "use crate::router::Router;"),
            ("proto/src/time.rs", "use crate::recovery::Sent;"),
        ] {
            assert_eq!(complaints(name, text).len(), 1, "{name}: {text}");
        }
    }

    #[test]
    fn what_the_floors_allow_is_allowed() {
        for (name, text) in [
            (
                "src/runtime/mod.rs",
                "use crate::net::x;\nuse crate::storage::{y, z};",
            ),
            (
                "src/net/mod.rs",
                "use crate::{Destination, Error};\nuse xfer_proto::time::Instant;",
            ),
            (
                "src/cli/sum/mod.rs",
                "use super::args::A;\nuse crate::cli::exit;",
            ),
            ("src/main.rs", "use crate::cli::run;"),
            ("src/api.rs", "use crate::Stop;"),
            (
                "proto/src/session/mod.rs",
                "use crate::{wire, file::layout};\nuse super::session;",
            ),
            ("proto/src/machine.rs", "use crate::storage::StorageOp;"),
            (
                "proto/src/wire/mod.rs",
                "// see crate::session\n#[cfg(test)]\nuse crate::session;",
            ),
        ] {
            assert_eq!(complaints(name, text), [""; 0], "{name}: {text}");
        }
    }

    #[test]
    fn circles_are_found() {
        let edge = |from: &str, to: &str| ("proto", vec![from.to_owned()], vec![to.to_owned()]);
        let chain = [edge("a", "b"), edge("b", "c"), edge("a", "c")];
        assert_eq!(check_circles(&chain), [""; 0]);
        let circle = [
            edge("a", "b"),
            edge("b", "c"),
            edge("c", "b"),
            edge("c", "d"),
        ];
        assert_eq!(check_circles(&circle).len(), 3);
    }

    #[test]
    fn long_things_are_found() {
        assert_eq!(check_size("x", &"a\n".repeat(MAX_FILE_LINES)).len(), 1);
        assert_eq!(check_size("x", &"a\n".repeat(MAX_FILE_LINES - 1)), [""; 0]);
        assert_eq!(check_size("x", &"é".repeat(MAX_COLUMNS + 1)).len(), 1);
        assert_eq!(check_size("x", &"é".repeat(MAX_COLUMNS)), [""; 0]);
        assert_eq!(
            check_size("x", &format!("// {} later", PROMISES[0])).len(),
            1
        );

        let function = |head: &str, lines: usize| {
            format!(
                "impl X {{\n    {head} {{\n{}    }}\n}}\n",
                "        a();\n".repeat(lines)
            )
        };
        for head in ["fn f()", "pub(crate) const fn f()", "async fn f()"] {
            assert_eq!(
                check_functions("x", &function(head, MAX_FUNCTION_LINES - 2)).len(),
                1
            );
            assert_eq!(
                check_functions("x", &function(head, MAX_FUNCTION_LINES - 3)),
                [""; 0]
            );
        }
        let no_body = format!("trait X {{\n    fn f();\n{}}}\n", "    // a\n".repeat(99));
        assert_eq!(check_functions("x", &no_body), [""; 0]);
    }
}
