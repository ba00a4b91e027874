//! The small form of the throughput table is what it was, and is not too low.

use xfer_sim::throughput::{Form, Line, SECTIONS, replace};

const COMMITTED: &str = include_str!("../throughput-small.md");

/// No line of a section may have a worst seed below this: a share of the link, or Jain's index.
/// Changes within it are looked at and committed; a fall below it is a fault.
const FLOORS: [(&str, f64); 9] = [
    ("steady", 0.9),
    ("gigabit", 0.9),
    ("held-out", 0.85),
    ("queues", 0.85),
    ("jitter", 0.2),
    ("own", 0.7),
    ("others", 0.04),
    ("steps", 0.8),
    ("whole", 0.35),
];

fn measured() -> Vec<Vec<Line>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let sections = SECTIONS.iter();
    sections
        .map(|section| section.measure(Form::Small, threads))
        .collect()
}

#[test]
fn the_table_is_as_committed_and_above_its_floors() {
    let measured = measured();
    for (section, lines) in SECTIONS.iter().zip(&measured) {
        let floor = FLOORS.iter().find(|(name, _)| *name == section.name);
        let floor = floor.expect("every section has a floor").1;
        for line in lines {
            assert_eq!(line.failure, None, "{}: {}", section.name, line.text);
            assert!(
                line.worst >= floor,
                "{}: {:.3} is below {floor} in {}",
                section.name,
                line.worst,
                line.text
            );
        }
    }
    let both = SECTIONS.iter().zip(&measured);
    let text = both.fold(String::new(), |text, (section, lines)| {
        replace(&text, Form::Small, section, lines)
    });
    let changed = changes(COMMITTED, &text);
    assert!(
        changed.is_empty(),
        "behaviour on the network has changed:\n{changed}Where that is meant, write the table \
         anew with\n    {}\nand the long one with\n    {}",
        Form::Small.command(),
        Form::Full.command()
    );
}

/// Lines of one text that the other lacks.
fn changes(old: &str, new: &str) -> String {
    let only = |sign: &str, one: &str, other: &str| -> String {
        one.lines()
            .filter(|line| !other.lines().any(|it| it == *line))
            .map(|line| format!("{sign} {line}\n"))
            .collect()
    };
    only("-", old, new) + &only("+", new, old)
}

#[test]
fn a_section_is_replaced_and_the_others_stay() {
    let line = |text: &str| {
        vec![Line {
            text: text.into(),
            ..Line::default()
        }]
    };
    let [first, second, ..] = &SECTIONS;
    let text = replace("", Form::Small, second, &line("| old |"));
    let text = replace(&text, Form::Small, first, &line("| first |"));
    let text = replace(&text, Form::Small, second, &line("| new |"));
    let at = |wanted: &str| text.find(wanted);
    assert!(at("| first |").is_some() && at("| first |") < at("| new |"));
    assert_eq!(at("| old |"), None);
    assert_eq!(text.matches("## ").count(), 2);
}
