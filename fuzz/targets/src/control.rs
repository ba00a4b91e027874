//! Messages of the control stream, however it is cut, reordered and repeated.

use arbitrary::{Result, Unstructured};
use xfer_proto::recovery::control::{BLOCK_WINDOW, ControlReceiver, MAX_BLOCK};
use xfer_proto::wire::frame::{BlockAck, ranges};
use xfer_proto::wire::message::Message;

/// The stream's messages come out of the receiver as they are in it, wherever the blocks are cut
/// and in whichever order they come; each of them encodes to the bytes that it was read from.
pub fn control_messages(data: &[u8]) {
    // There is nothing to see where the bytes do not suffice to say what happens.
    let _ = run(&mut Unstructured::new(data));
}

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let cuts: Vec<u16> = u.arbitrary()?;
    let order: Vec<u8> = u.arbitrary()?;
    let stream = u.bytes(u.len())?;
    let (expected, is_sound) = whole(stream);
    let blocks = cut(stream, &cuts);
    let mut receiver = ControlReceiver::default();
    let mut order = order.into_iter().cycle();
    let (mut found, mut next, mut has_failed) = (Vec::new(), 0, false);
    let mut early = vec![false; blocks.len()];
    let mut is_in_turn = false;
    while next < blocks.len() && !has_failed {
        // Mostly the block whose turn it is, at times one that comes early or again.
        // Every other step makes progress, whatever the input wants.
        is_in_turn = !is_in_turn;
        let ahead = usize::from(order.next().unwrap_or(0));
        let at = if is_in_turn || ahead < 128 {
            next
        } else {
            (next + ahead).saturating_sub(160).min(blocks.len() - 1)
        };
        let was_new = receiver.on_block(at as u64, blocks[at]);
        assert!(!was_new || !early[at], "a block is new only once");
        assert!(was_new || early[at] || at < next || at - next >= BLOCK_WINDOW as usize);
        early[at] |= was_new;
        while next < blocks.len() && early[next] {
            next += 1;
        }
        check_ack(&receiver.ack(), next as u64, &early);
        loop {
            match receiver.next_message() {
                Ok(Some(message)) => found.push(message),
                Ok(None) => break,
                Err(_) => {
                    has_failed = true;
                    break;
                }
            }
        }
    }
    assert_eq!(found, expected);
    assert_eq!(has_failed, !is_sound);
    Ok(())
}

/// The messages of the stream up to the first that is malformed, and whether there is none.
fn whole(mut stream: &[u8]) -> (Vec<Message>, bool) {
    let mut messages = Vec::new();
    loop {
        let before = stream;
        match Message::take(&mut stream) {
            Ok(Some(Some(message))) => {
                let mut again = Vec::new();
                message.encode(&mut again);
                assert_eq!(again, before[..before.len() - stream.len()]);
                messages.push(message);
            }
            Ok(Some(None)) => assert!(stream.len() < before.len()),
            Ok(None) => return (messages, true),
            Err(_) => return (messages, false),
        }
    }
}

fn cut<'a>(mut stream: &'a [u8], cuts: &[u16]) -> Vec<&'a [u8]> {
    let mut cuts = cuts.iter().copied().cycle();
    let mut blocks = Vec::new();
    while !stream.is_empty() {
        let len = usize::from(cuts.next().unwrap_or(u16::MAX)) % MAX_BLOCK + 1;
        let (block, rest) = stream.split_at(len.min(stream.len()));
        blocks.push(block);
        stream = rest;
    }
    blocks
}

/// An acknowledgement speaks of blocks that came, and of no others.
fn check_ack(ack: &BlockAck, next: u64, has: &[bool]) {
    assert_eq!(ack.next, next);
    assert!(ack.missing.len() <= BlockAck::MAX_RUNS);
    let missing = ranges(&ack.missing, ack.next, ack.end).expect("a malformed list of runs");
    for block in ack.next..ack.end {
        let is_missing = missing.iter().any(|range| range.contains(&block));
        assert_eq!(has[block as usize], !is_missing, "block {block}");
    }
}
