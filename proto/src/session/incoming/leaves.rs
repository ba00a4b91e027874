//! What is known of the leaves of a file that is received.

use crate::id::Digest;
use alloc::collections::BTreeMap;
use core::ops::Range;

/// One leaf of a file that is received.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeafState {
    /// Bytes that have not come.
    pub missing: u32,
    /// Storage is asked for its value.
    pub is_hashing: bool,
    /// The value of what has come.
    pub value: Option<Digest>,
    /// The value that the sender announced.
    pub expected: Option<Digest>,
    /// It was kept from an earlier session: that it differs is nobody's fault.
    pub is_resumed: bool,
    /// Only the value is known that the sender announced: it counts in
    /// [`super::files::Files::announced`].
    pub is_only_announced: bool,
}

impl LeafState {
    /// A leaf of so many bytes, of which none has come.
    pub fn new(bytes: Range<u64>) -> Self {
        Self {
            missing: bytes.end.saturating_sub(bytes.start) as u32,
            is_hashing: false,
            value: None,
            expected: None,
            is_resumed: false,
            is_only_announced: false,
        }
    }
}

/// The leaves of a file of which anything is known: what a peer offers costs memory only as far as
/// it comes. The first has its place here: most files have no other, and a node of a tree takes ten
/// times as much.
#[derive(Debug, Default)]
pub(super) struct Leaves {
    first: Option<LeafState>,
    rest: BTreeMap<u64, LeafState>,
}

impl Leaves {
    pub fn get(&self, index: u64) -> Option<&LeafState> {
        match index {
            0 => self.first.as_ref(),
            _ => self.rest.get(&index),
        }
    }

    /// The leaf, with nothing of its `bytes` where nothing was known of it.
    pub fn get_or_new(&mut self, index: u64, bytes: Range<u64>) -> &mut LeafState {
        match index {
            0 => self.first.get_or_insert_with(|| LeafState::new(bytes)),
            _ => (self.rest.entry(index)).or_insert_with(|| LeafState::new(bytes)),
        }
    }

    /// Those from `index` on, in their order.
    pub fn from(&self, index: u64) -> impl Iterator<Item = (u64, &LeafState)> {
        let first = self.first.iter().filter(move |_| index == 0);
        let rest = self.rest.range(index..).map(|(index, leaf)| (*index, leaf));
        first.map(|leaf| (0, leaf)).chain(rest)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut LeafState)> {
        let first = self.first.iter_mut().map(|leaf| (0, leaf));
        let rest = self.rest.iter_mut().map(|(index, leaf)| (*index, leaf));
        first.chain(rest)
    }

    pub fn values(&self) -> impl Iterator<Item = &LeafState> {
        self.first.iter().chain(self.rest.values())
    }
}
