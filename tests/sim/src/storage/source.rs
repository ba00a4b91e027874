//! The sender's files.

use super::{Failures, OpFailure, OpKind};
use crate::content::Content;
use bytes::Bytes;
use std::rc::Rc;
use xfer_proto::digest::{LEAF_SIZE, leaf_range};
use xfer_proto::error::Failure;
use xfer_proto::id::FileIndex;
use xfer_proto::storage::{Done, ReadBlock, StorageOp};

/// Files to read from, as the manifest lists them.
#[derive(Debug)]
pub struct Source {
    files: Rc<Vec<Content>>,
    failures: Failures,
}

impl Source {
    /// A source of `files`, some of whose operations fail.
    pub fn new(files: Rc<Vec<Content>>, failures: Vec<OpFailure>) -> Self {
        Self {
            files,
            failures: Failures::new(failures),
        }
    }

    /// Carries `op` out. The outer error is a breach of the storage contract by the engine.
    pub fn execute(&mut self, op: &StorageOp) -> Result<Result<Done, Failure>, String> {
        if let Some(failure) = self.failures.check(OpKind::of(op)) {
            return Ok(Err(failure));
        }
        match *op {
            StorageOp::Read {
                file,
                offset,
                len,
                digest,
                ..
            } => self.read(file, offset, len, digest).map(Ok),
            StorageOp::Finish { file, .. } => self.file(file).map(|_| Ok(Done::Finished)),
            _ => Err(format!("a sender asked for {:?}", OpKind::of(op))),
        }
    }

    fn read(&self, file: FileIndex, offset: u64, len: u32, digest: bool) -> Result<Done, String> {
        let content = self.file(file)?;
        let end = offset + u64::from(len);
        if len == 0 || u64::from(len) > LEAF_SIZE || end > content.size() {
            return Err(format!(
                "read of {len} bytes at {offset} of a file of {} bytes",
                content.size()
            ));
        }
        let leaf = offset / LEAF_SIZE;
        if digest && leaf_range(content.size(), leaf) != (offset, end) {
            return Err(format!("a digest of {offset}..{end}, which is not a leaf"));
        }
        Ok(Done::Read(ReadBlock {
            data: Bytes::from(content.read(offset..end)),
            leaf: digest.then(|| content.leaf(leaf)),
        }))
    }

    fn file(&self, file: FileIndex) -> Result<&Content, String> {
        self.files
            .get(file.as_usize())
            .ok_or_else(|| format!("{file:?} is not in the manifest"))
    }
}
