//! Replays what is under `fuzz/corpus/`: seeds, and every find of a fuzzer.

use std::fs;
use std::path::{Path, PathBuf};
use xfer_fuzz_targets::TARGETS;
use xfer_proto::rng::Rng;

#[test]
fn the_corpus_passes() {
    for (name, target) in TARGETS {
        let inputs = inputs(name);
        assert!(!inputs.is_empty(), "fuzz/corpus/{name} is empty");
        for path in inputs {
            // The name of what fails is printed only then.
            let shown = Shown(&path);
            target(&fs::read(&path).unwrap());
            drop(shown);
        }
    }
}

#[test]
fn random_bytes_pass() {
    for (_, target) in TARGETS {
        for seed in 0..300 {
            let mut rng = Rng::new(seed);
            let len = rng.below(2_000);
            let bytes: Vec<_> = (0..len).map(|_| rng.below(256) as u8).collect();
            target(&bytes);
        }
    }
}

#[test]
fn every_target_has_a_program() {
    let bins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bins");
    let mut programs: Vec<_> = fs::read_dir(bins)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    programs.sort();
    assert_eq!(programs, TARGETS.map(|target| target.0));
}

fn inputs(target: &str) -> Vec<PathBuf> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    let entries = fs::read_dir(corpus.join(target)).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Names the input when the test panics with it.
struct Shown<'a>(&'a Path);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut text = String::from("with the input ");
            text.push_str(&self.0.display().to_string());
            text.push('\n');
            // There is nobody left to tell when this fails.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
        }
    }
}
