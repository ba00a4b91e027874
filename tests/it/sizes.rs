//! Sizes around every boundary of the protocol, and many small files.

use crate::support::{MODES, Receiver, Scratch, assert_same_tree, noise, send, write_file};

/// Payload of a full data packet, for each size of datagram that the handshake may settle on: the
/// datagram less 30 bytes of header and checksum.
const CHUNKS: [usize; 4] = [8_952 - 30, 1_472 - 30, 1_452 - 30, 1_200 - 30];
/// Bytes under one value of the digest tree.
const LEAF: usize = 1 << 20;

#[test]
fn every_boundary_is_exact_in_every_mode() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    let mut sizes = vec![0, 1, 5 << 20];
    for boundary in CHUNKS.into_iter().chain([LEAF, 2 * CHUNKS[1]]) {
        sizes.extend([boundary - 1, boundary, boundary + 1]);
    }
    for &size in &sizes {
        write_file(
            &source.join(format!("sizes/{size}")),
            &noise(size, size as u64),
        );
    }
    let count = sizes.len().to_string();
    for mode in MODES {
        let receiver = Receiver::start(&scratch.join(mode), &["--exit-after", &count]);
        send(
            &source,
            &["--mode", mode, "--to", &receiver.to()],
            &["sizes"],
        )
        .expect(0);
        assert_same_tree(&source, receiver.out());
        receiver.finish().expect(0);
    }
}

#[test]
fn two_thousand_small_files_keep_their_places() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    for at in 0..2_000_usize {
        let path = format!("tree/{}/{}/{at}.txt", at % 7, at % 31);
        write_file(&source.join(path), &noise(at % 300, at as u64));
    }
    for mode in ["thread", "process-async"] {
        let receiver = Receiver::start(&scratch.join(mode), &["--exit-after", "2000"]);
        let options = ["--json", "--mode", mode, "--to", &receiver.to()];
        let sent = send(&source, &options, &["tree"]).expect(0);
        assert_eq!(sent.events().len(), 2_001);
        assert_same_tree(&source, receiver.out());
        receiver.finish().expect(0);
    }
}
