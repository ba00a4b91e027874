//! What is sent: one file, or a directory of many; and memory for what arrives.

use anyhow::{Context, Result};
use rustix::fs::FallocateFlags;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use xfer_proto::rng::Rng;

/// Files in one directory of the source.
const FILES_IN_DIR: u32 = 1_000;

/// Makes a file of `bytes` at `path`, or a directory of `files` such files; the same ones every
/// time. They cannot be compressed.
pub fn make(path: &Path, files: u32, bytes: u64) -> Result<()> {
    remove(path)?;
    if files == 1 {
        return make_file(path, bytes, bytes);
    }
    for file in 0..files {
        let dir = path.join(format!("{:03}", file / FILES_IN_DIR));
        if file % FILES_IN_DIR == 0 {
            std::fs::create_dir_all(&dir)
                .with_context(|| format!("cannot create `{}`", dir.display()))?;
        }
        make_file(&dir.join(format!("{file:06}")), bytes, file.into())?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    let removed = match path.symlink_metadata() {
        Err(_) => Ok(()),
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
    };
    removed.with_context(|| format!("cannot remove `{}`", path.display()))
}

fn make_file(path: &Path, bytes: u64, seed: u64) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        let mut rng = Rng::new(seed);
        let mut left = bytes;
        while left > 0 {
            let word = rng.next_u64().to_le_bytes();
            let len = left.min(word.len() as u64);
            file.write_all(&word[..len as usize])?;
            left -= len;
        }
        file.flush()
    };
    write().with_context(|| format!("cannot write `{}`", path.display()))
}

/// The BLAKE3 digest of a file; of a directory, that of the names and digests in it.
pub fn digest(path: &Path) -> Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    let read = |hasher: &mut blake3::Hasher| -> Result<()> {
        if !path.is_dir() {
            hasher.update_reader(File::open(path)?)?;
            return Ok(());
        }
        let mut entries = std::fs::read_dir(path)?.collect::<std::io::Result<Vec<_>>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_encoded_bytes());
            hasher.update(digest(&entry.path())?.as_bytes());
        }
        Ok(())
    };
    read(&mut hasher).with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(hasher.finalize())
}

/// Memory that targets will be written to without the machine having to find it first.
///
/// A virtual machine is given its memory on first touch and may hand it back in pieces of 2 MiB
/// when it is free; neither is what a transfer shall be measured by. So as much as a target takes
/// is written once and freed again but for one page in each 2 MiB, which keeps the rest with the
/// machine.
pub struct TouchedMemory(PathBuf);

impl TouchedMemory {
    /// Touches room for `bytes` of files in `dir`, and some for the programs.
    pub fn new(dir: &Path, bytes: u64) -> Result<Self> {
        const PIECE: u64 = 2 << 20;
        const PAGE: u64 = 4 << 10;
        const FOR_PROGRAMS: u64 = 256 << 20;
        let len = bytes.saturating_add(FOR_PROGRAMS).next_multiple_of(PIECE);
        let path = dir.join("touched");
        let touch = || -> std::io::Result<()> {
            let mut file = File::create(&path)?;
            let piece = vec![1; PIECE as usize];
            for _ in 0..len / PIECE {
                file.write_all(&piece)?;
            }
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            for start in (0..len).step_by(PIECE as usize) {
                rustix::fs::fallocate(&file, hole, start + PAGE, PIECE - PAGE)?;
            }
            Ok(())
        };
        touch().with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for TouchedMemory {
    fn drop(&mut self) {
        // What is left of it goes with the work directory.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_file_has_its_length_and_is_always_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let paths = [dir.path().join("a"), dir.path().join("b")];
        for path in &paths {
            make(path, 1, 100_003).unwrap();
        }
        assert_eq!(std::fs::metadata(&paths[0]).unwrap().len(), 100_003);
        let digests = paths.map(|path| digest(&path).unwrap());
        assert_eq!(digests[0], digests[1]);
    }

    #[test]
    fn a_directory_is_made_anew_and_every_byte_of_it_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("many");
        make(&path, 1, 10).unwrap();
        make(&path, 1_001, 10).unwrap();
        let whole = digest(&path).unwrap();
        let last = path.join("001/001000");
        assert_eq!(std::fs::read(&last).unwrap().len(), 10);
        std::fs::write(&last, [0; 10]).unwrap();
        assert_ne!(digest(&path).unwrap(), whole);
        make(&path, 1_001, 10).unwrap();
        assert_eq!(digest(&path).unwrap(), whole);
    }
}
