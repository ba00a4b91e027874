//! What a receiver may make up.

use super::Traitor;
use std::net::SocketAddr;
use xfer_proto::error::{ErrorCode, Failure};
use xfer_proto::id::{Digest, FileIndex};
use xfer_proto::wire::frame::{Frame, Report};
use xfer_proto::wire::header::{Header, Kind};
use xfer_proto::wire::message::{Message, Verdict};
use xfer_proto::wire::packet::{Packet, encode_versions};

/// Kinds of lies.
pub(crate) const RECEIVER_LIES: u64 = 9;

impl Traitor {
    pub(super) fn lie_as_receiver(
        &mut self,
        packet: &Packet<'_>,
        data: &[u8],
        only: Option<u32>,
    ) -> Vec<(Option<SocketAddr>, Vec<u8>)> {
        let Packet::Frames { header, frames, .. } = packet else {
            return vec![(None, data.to_vec())];
        };
        let control = Header {
            kind: Kind::Control,
            ..*header
        };
        let reports = frames.iter().find_map(|frame| match frame {
            Frame::Report(report) => Some(report.clone()),
            _ => None,
        });
        let blocks = frames.iter().find_map(|frame| match frame {
            Frame::Block(block) => Some(block.sequence),
            _ => None,
        });
        let kind = only.map_or_else(|| self.rng.below(RECEIVER_LIES), u64::from);
        let lie = match (kind, reports, blocks) {
            (0..=3, Some(mut report), _) => {
                self.twist(kind, &mut report);
                self.frames(Kind::Control, header.number, &[Frame::Report(report)])
            }
            (4 | 5, _, Some(sequence)) => {
                let message = self.receiver_message();
                self.false_block(control, sequence, message)
            }
            (6, ..) => self.goodbye(control),
            (7, ..) => self.greeting(control),
            (8, ..) => {
                let mut list = Vec::new();
                encode_versions(&mut list, self.session);
                let mut all = self.copies(data);
                all.push(list);
                return all.into_iter().map(|it| (None, it)).collect();
            }
            _ => data.to_vec(),
        };
        vec![(None, lie)]
    }

    fn twist(&mut self, kind: u64, report: &mut Report) {
        match kind {
            // Everything came: optimistic acknowledgement.
            0 => {
                report.received = report.largest + 1;
                report.first_missing = report.end;
                (report.page_start, report.page_end) = (report.end, report.end);
                report.missing.clear();
            }
            // Nothing came, ever.
            1 => {
                report.first_missing = 0;
                (report.page_start, report.page_end) = (0, report.end);
                report.missing = vec![xfer_proto::wire::frame::GapRun {
                    gap: 0,
                    run: report.end.max(1),
                }];
            }
            // A page of holes of its own.
            2 => {
                report.page_start = self.number(report.first_missing);
                report.page_end = self.number(report.end);
                report.missing = self.runs(300);
            }
            _ => {
                let field = self.rng.below(10);
                let value = match field {
                    0 => self.number(report.largest),
                    _ => self.number(report.end),
                };
                match field {
                    0 => report.largest = value,
                    1 => report.received = value,
                    2 => report.largest_at_us = value,
                    3 => report.delay_us = value as u32,
                    4 => report.host_drops = value,
                    5 => report.duplicates = value,
                    6 => report.window = value,
                    7 => report.first_missing = value,
                    8 => report.overtaken = value,
                    _ => report.ce = value,
                }
            }
        }
    }

    fn receiver_message(&mut self) -> Option<Message> {
        let file = FileIndex(self.rng.below(3) as u32);
        Some(match self.rng.below(7) {
            0 => Message::Answer {
                through: self.number(2) as u32,
            },
            1 => Message::Hold { file },
            2 => Message::Want { file },
            3 => {
                let leaves = (0..self.rng.below(25))
                    .map(|at| (at, Digest([at as u8; 32])))
                    .collect();
                Message::Resume {
                    file,
                    is_same_source: self.rng.below(2) == 0,
                    leaves,
                }
            }
            4 => {
                let verdict = match self.rng.below(3) {
                    0 => Verdict::Committed,
                    1 => Verdict::Skipped,
                    _ => Verdict::Failed(Failure::from(ErrorCode::NO_SPACE)),
                };
                Message::Status {
                    files: vec![(file, verdict)],
                }
            }
            5 => Message::OfferEnd { files: 1 },
            _ => return None,
        })
    }
}
