//! The order of a receiver's system calls: what it reports is durable before it reports it.
//!
//! The calls of the unmodified program are read into a model of what a power cut would leave: the
//! content of a file is durable when it was synced after its last write, a name when the directory
//! was synced after the name was made, and a file when its content, its name and those of all
//! directories above are. A file may be moved to its name only with durable content, and the
//! sender may be told of no more files than are durable.

use crate::host::{Program, noise};
use crate::points::{Arguments, Place};
use crate::strace::{self, Call, Event};
use crate::{points, say};
use anyhow::{Result, ensure};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use xfer_proto::rng::Rng;
use xfer_proto::wire::frame::Frame;
use xfer_proto::wire::message::{Message, Verdict};
use xfer_proto::wire::packet::Packet;

/// Small files, so many that they share their syncs.
const MANY: usize = 200;
const SMALL: u64 = 4_096;

/// Runs the loop; answers how often a promise broke.
pub(crate) fn run(program: &Program, arguments: &Arguments) -> Result<u64> {
    if let Some(why) = strace::is_missing() {
        say(&format!("skipped: {why}"));
        return Ok(0);
    }
    let place = Place::new()?;
    let mut rng = Rng::new(2);
    for file in 0..MANY {
        let path = place.source().join(format!("many/{}/{file}", file % 20));
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        let len = rng.below(SMALL) as usize;
        fs::write(path, noise(len, &mut rng))?;
    }
    let (mut reported, mut violations) = (0, 0);
    for what in ["tree", "many"] {
        let out = place.out()?;
        // The second time everything is there, and nobody has seen it become durable.
        for time in ["new", "identical"] {
            let outcome = once(program, &place, &out, what, &arguments.mode)?;
            reported += outcome.reported;
            violations += outcome.complaints.len() as u64;
            for complaint in outcome.complaints.iter().take(10) {
                say(&format!("{what}, {time}: {complaint}"));
            }
        }
    }
    say(&format!(
        "order: {reported} files reported in 4 runs, {violations} violations"
    ));
    Ok(violations)
}

struct Outcome {
    reported: u64,
    complaints: Vec<String>,
}

fn once(program: &Program, place: &Place, out: &Path, what: &str, mode: &str) -> Result<Outcome> {
    let source = place.source();
    let files = crate::host::read_tree(&source)?;
    let files: Vec<PathBuf> = files
        .into_keys()
        .filter(|path| path.starts_with(what))
        .map(|path| out.join(path))
        .collect();
    let log = place.log();
    points::forget(&log);
    let mut model = Model::of(out, files)?;
    let wrapper = strace::record(&log);
    let receiver = program.receive(out, "127.0.0.1:0", &[], &wrapper)?;
    let options = ["--mode", mode, "--jobs", "1"];
    let sender = program.send(&source, receiver.address()?, &options, &[what], &[])?;
    let (status, _) = sender.finish()?;
    ensure!(status == 0, "a run without a fault gave {status}");
    receiver.process.interrupt_children();
    let mut process = receiver.process;
    process.wait()?;
    for event in strace::events(&log)? {
        model.on_event(&event);
    }
    let reported = model.told.len();
    ensure!(
        reported == model.files.len(),
        "{reported} of {} reports found in the log",
        model.files.len()
    );
    Ok(Outcome {
        reported: reported as u64,
        complaints: model.complaints,
    })
}

/// What a power cut would leave.
struct Model {
    out: PathBuf,
    files: Vec<PathBuf>,
    exist: BTreeSet<PathBuf>,
    contents: HashSet<PathBuf>,
    names: HashSet<PathBuf>,
    /// Pieces of the control streams that were sent: by session, then by position.
    streams: BTreeMap<u64, BTreeMap<u64, Vec<u8>>>,
    /// Files that a sender was told of: session and index.
    told: BTreeSet<(u64, u32)>,
    complaints: Vec<String>,
}

impl Model {
    fn of(out: &Path, files: Vec<PathBuf>) -> Result<Self> {
        let mut exist = BTreeSet::from([out.to_owned()]);
        let mut dirs = Vec::from_iter(out.is_dir().then(|| out.to_owned()));
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir)? {
                let path = entry?.path();
                exist.insert(path.clone());
                dirs.extend(path.is_dir().then_some(path));
            }
        }
        Ok(Self {
            out: out.to_owned(),
            files,
            exist,
            contents: HashSet::new(),
            names: HashSet::new(),
            streams: BTreeMap::new(),
            told: BTreeSet::new(),
            complaints: Vec::new(),
        })
    }

    fn on_event(&mut self, event: &Event) {
        match event {
            Event::Starts(Call { name, texts, .. }) if name.starts_with("send") => {
                for text in texts {
                    self.on_sent(text);
                }
            }
            Event::Ends(call) if call.succeeded => self.on_done(call),
            _ => {}
        }
    }

    fn on_done(&mut self, call: &Call) {
        let path = call.paths.first().cloned().unwrap_or_default();
        match (call.name.as_str(), call.texts.as_slice()) {
            ("fsync" | "fdatasync", _) => {
                let below = self.exist.iter().filter(|of| of.parent() == Some(&path));
                self.names.extend(below.cloned());
                self.contents.insert(path);
            }
            ("syncfs", _) => {
                self.names.extend(self.exist.iter().cloned());
                self.contents.extend(self.exist.iter().cloned());
            }
            ("mkdirat", [name]) => {
                self.exist.insert(path.join(strace::path(name)));
            }
            ("write" | "pwrite64" | "pwritev" | "pwritev2", _) => {
                self.contents.remove(&path);
                self.exist.insert(path);
            }
            ("renameat2" | "renameat" | "linkat", [from, to]) => {
                let to_dir = call.paths.get(1).cloned().unwrap_or_default();
                let (from, to) = (path.join(strace::path(from)), to_dir.join(strace::path(to)));
                self.on_renamed(from, to);
            }
            _ => {}
        }
    }

    fn on_renamed(&mut self, from: PathBuf, to: PathBuf) {
        let is_durable = self.contents.remove(&from);
        if self.files.contains(&to) && !is_durable {
            let text = format!(
                "`{}` got its name before its content was durable",
                to.display()
            );
            self.complaints.push(text);
        }
        self.exist.remove(&from);
        self.names.remove(&to);
        if is_durable {
            self.contents.insert(to.clone());
        }
        self.exist.insert(to);
    }

    fn on_sent(&mut self, datagram: &[u8]) {
        let Ok(Packet::Frames { header, frames, .. }) = Packet::decode(datagram) else {
            return;
        };
        let session = header.session.0;
        let stream = self.streams.entry(session).or_default();
        for frame in frames {
            if let Frame::Block(block) = frame {
                stream.insert(block.sequence, block.bytes.to_vec());
            }
        }
        let whole = (0..).map_while(|at| stream.get(&at));
        let bytes: Vec<u8> = whole.flatten().copied().collect();
        let mut rest = bytes.as_slice();
        let before = self.told.len();
        while let Ok(Some(message)) = Message::take(&mut rest) {
            let Some(Message::Status { files }) = message else {
                continue;
            };
            let good = |verdict: &Verdict| !matches!(verdict, Verdict::Failed(_));
            let files = files.into_iter().filter(|(_, verdict)| good(verdict));
            self.told.extend(files.map(|(file, _)| (session, file.0)));
        }
        let durable = self.files.iter().filter(|file| self.is_durable(file));
        let (told, durable) = (self.told.len(), durable.count());
        if told > before && told > durable {
            let text = format!("{told} files are reported, {durable} are durable");
            self.complaints.push(text);
        }
    }

    fn is_durable(&self, file: &Path) -> bool {
        let above = file
            .ancestors()
            .take_while(|path| path.starts_with(&self.out));
        self.contents.contains(file) && above.into_iter().all(|path| self.names.contains(path))
    }
}
