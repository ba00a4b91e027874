//! Whole packets.

use super::*;
use crate::rng::Rng;

const KINDS: [Kind; 4] = [Kind::Hello, Kind::Retry, Kind::Control, Kind::Reset];

proptest! {
    #[test]
    fn data_packets_come_back(
        session: u64, packet: u64, chunk: u64, payload in list(any::<u8>(), 0..200), cut: u8,
    ) {
        let (session, number) = (SessionId(session), PacketNumber(packet));
        let mut bytes = vec![0xaa; 3];
        encode_data(&mut bytes, session, number, chunk, &payload);
        let bytes = bytes.split_off(3);
        prop_assert_eq!(bytes.len(), DATA_OVERHEAD + payload.len());
        let header = Header { kind: Kind::Data, session, number };
        let expected = Packet::Data { header, chunk, payload: &payload };
        prop_assert_eq!(Packet::decode(&bytes), Ok(expected));
        let (head, tail) = payload.split_at(usize::from(cut).min(payload.len()));
        let mut parts = Vec::new();
        encode_data_parts(&mut parts, session, number, chunk, head, tail);
        prop_assert_eq!(parts, bytes);
    }

    #[test]
    fn packets_of_frames_come_back(
        kind in prop::sample::select(&KINDS[..]), session: u64, packet: u64, tag: u64,
        material in material(), report in report(), failure in prop::option::of(failure()),
        is_padded: bool,
    ) {
        let frames = every_frame(&material, &report, &failure);
        let (session, number) = (SessionId(session), PacketNumber(packet));
        let mut writer = FrameWriter::new(kind, session, number, tag, MAX_DATAGRAM);
        prop_assert!(writer.is_empty());
        prop_assert!(frames.iter().all(|frame| writer.push(frame)));
        if is_padded {
            writer.pad();
        }
        let mut bytes = Vec::new();
        writer.finish(&mut bytes);
        prop_assert!(bytes.len() <= MAX_DATAGRAM);
        prop_assert!(!is_padded || bytes.len() == MAX_DATAGRAM);
        let header = Header { kind, session, number };
        // SPEC: R-frames-4
        let expected = match bytes.len() <= MIN_DATAGRAM || kind == Kind::Hello {
            true => Ok(Packet::Frames { header, tag, frames }),
            false => Err(DecodeError::Oversized),
        };
        prop_assert_eq!(Packet::decode(&bytes), expected);
    }

    #[test]
    fn a_writer_takes_what_fits_and_nothing_else(
        material in material(), report in report(), limit in FRAMES_OVERHEAD..400,
    ) {
        let frames = every_frame(&material, &report, &None);
        let mut writer =
            FrameWriter::new(Kind::Control, SessionId(1), PacketNumber(2), 3, limit);
        let mut taken = Vec::new();
        for frame in frames {
            let mut encoded = Vec::new();
            frame.encode(&mut encoded);
            let room = writer.room();
            prop_assert_eq!(writer.push(&frame), encoded.len() <= room);
            if encoded.len() <= room {
                prop_assert_eq!(writer.room(), room - encoded.len());
                taken.push(frame);
            }
        }
        writer.pad();
        let mut bytes = Vec::new();
        writer.finish(&mut bytes);
        prop_assert!(bytes.len() <= limit);
        let Ok(Packet::Frames { frames, .. }) = Packet::decode(&bytes) else {
            return Err(TestCaseError::fail("not readable"));
        };
        prop_assert_eq!(frames, taken);
    }

    #[test]
    fn truncation_extension_and_every_flipped_bit_are_noticed(
        material in material(), report in report(), failure in prop::option::of(failure()),
        behind in list(any::<u8>(), 1..5),
    ) {
        let frames = every_frame(&material, &report, &failure);
        for packet in [frames_packet(Kind::Control, &frames), data_packet(9, &material.0)] {
            for len in 0..packet.len() {
                prop_assert!(Packet::decode(&packet[..len]).is_err(), "cut to {} bytes", len);
            }
            let longer = [packet.as_slice(), &behind].concat();
            prop_assert!(Packet::decode(&longer).is_err());
            for bit in 0..packet.len() * 8 {
                let mut flipped = packet.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(Packet::decode(&flipped).is_err(), "bit {}", bit);
            }
        }
    }

    #[test]
    fn a_cut_packet_with_a_right_checksum_is_no_packet_of_frames(
        material in material(), report in report(), failure in prop::option::of(failure()),
    ) {
        // A cut between two frames leaves a good packet, and so each packet has one frame.
        for frame in every_frame(&material, &report, &failure) {
            let packet = frames_packet(Kind::Control, &[frame]);
            let body = &packet[..packet.len() - CHECKSUM_LEN];
            for len in (0..body.len()).filter(|len| *len != HEADER_LEN + 8) {
                let cut = with_checksum(body[..len].to_vec());
                prop_assert!(Packet::decode(&cut).is_err(), "cut to {} bytes", len);
            }
        }
    }

    #[test]
    fn what_is_read_is_what_was_written(
        start in prop::sample::select(vec![0x11_u8, 0x12, 0x13, 0x14, 0x15, 0x16, 0x00]),
        rest in list(any::<u8>(), 9..200), frames in list((0_u8..9, list(0_u8..4, 0..12)), 0..4),
        is_framed: bool,
    ) {
        let mut body = [&[start, 0], rest.as_slice()].concat();
        if is_framed {
            body.resize(HEADER_LEN + 8, 0);
            for (kind, content) in &frames {
                body.extend([*kind, 0, content.len() as u8]);
                body.extend(content);
            }
        }
        let packet = with_checksum(body.clone());
        match Packet::decode(&packet) {
            Ok(Packet::Data { header, chunk, payload }) => {
                let mut again = Vec::new();
                encode_data(&mut again, header.session, header.number, chunk, payload);
                prop_assert_eq!(again, packet);
            }
            Ok(Packet::Part { header, chunk, offset, payload }) => {
                let mut again = Vec::new();
                let at = (chunk, offset);
                encode_part(&mut again, header.session, header.number, at, payload, &[]);
                prop_assert_eq!(again, packet);
            }
            Ok(Packet::Parity { header, of, payload }) => {
                let mut again = Vec::new();
                encode_parity(&mut again, header.session, header.number, of, payload);
                prop_assert_eq!(again, packet);
            }
            Ok(Packet::Versions { session, versions }) => {
                prop_assert!((1..=MAX_VERSIONS).contains(&versions.len()));
                let fixed = [&[0, 0], session.0.to_be_bytes().as_slice()].concat();
                prop_assert_eq!([&fixed, versions].concat(), body);
            }
            Ok(Packet::Frames { header, tag, frames }) if body.len() == HEADER_LEN + 8
                || !frames.is_empty() =>
            {
                let mut writer =
                    FrameWriter::new(header.kind, header.session, header.number, tag, 4_096);
                prop_assert!(frames.iter().all(|frame| writer.push(frame)));
                let mut again = Vec::new();
                writer.finish(&mut again);
                // Padding is skipped, and so the length tells whether all was understood.
                prop_assert!(again.len() < packet.len() || again == packet);
            }
            Ok(Packet::Frames { .. }) | Err(_) => {}
        }
    }

    #[test]
    fn anything_short_is_dropped(bytes in list(any::<u8>(), 0..=64)) {
        prop_assert!(Packet::decode(&bytes).is_err());
    }
}

#[test]
fn zeros_and_ones_are_no_packets() {
    for byte in [0x00, 0xff] {
        for len in 0..=64 {
            assert!(
                Packet::decode(&vec![byte; len]).is_err(),
                "{len} times {byte:#x}"
            );
            let mut summed = vec![byte; len];
            checksum::append(&mut summed, 0);
            // Zeros with a right checksum are a list of the versions 0 in session 0.
            let is_list = byte == 0 && (11..=10 + MAX_VERSIONS).contains(&len);
            assert_eq!(
                Packet::decode(&summed).is_ok(),
                is_list,
                "{len} times {byte:#x}"
            );
        }
    }
}

#[test]
fn any_two_flipped_bits_are_noticed() {
    let ping = Frame::Ping(Ping {
        sent_end: 1_000,
        interval_us: 1_000,
    });
    for packet in [
        frames_packet(Kind::Control, &[ping]),
        data_packet(70, b"0123456789"),
    ] {
        let bits = packet.len() * 8;
        for first in 0..bits {
            for second in 0..first {
                let mut flipped = packet.clone();
                flipped[first / 8] ^= 1 << (first % 8);
                flipped[second / 8] ^= 1 << (second % 8);
                assert!(
                    Packet::decode(&flipped).is_err(),
                    "bits {first} and {second}"
                );
            }
        }
    }
}

#[test]
fn a_long_packet_notices_bursts() {
    let mut rng = Rng::new(1);
    let payload: Vec<u8> = (0..MIN_DATAGRAM - DATA_OVERHEAD)
        .map(|_| rng.below(256) as u8)
        .collect();
    let packet = data_packet(1, &payload);
    for _ in 0..20_000 {
        // A CRC notices every burst that is no longer than itself.
        let at = rng.below((packet.len() - 4) as u64 + 1) as usize;
        let burst = (rng.next_u64() as u32).max(1).to_be_bytes();
        let mut hit = packet.clone();
        hit[at..at + 4]
            .iter_mut()
            .zip(burst)
            .for_each(|(byte, flip)| *byte ^= flip);
        assert!(Packet::decode(&hit).is_err());
    }
}

#[test]
fn headers_of_other_versions_and_kinds_are_told_apart() {
    let packet = data_packet(1, b"x");
    let with_first = |first: u8| {
        let mut body = packet[..packet.len() - CHECKSUM_LEN].to_vec();
        body[0] = first;
        with_checksum(body)
    };
    for version in (0..16).filter(|version| ![VERSION, VERSION_LIST].contains(version)) {
        let other = with_first(version << 4 | 3);
        assert_eq!(Packet::decode(&other), Err(DecodeError::Version(version)));
        let invariant = Invariant::decode(&other).unwrap();
        assert_eq!(
            (invariant.version, invariant.session),
            (version, SessionId(3))
        );
    }
    for kind in [0].into_iter().chain(8..16) {
        let other = with_first(VERSION << 4 | kind);
        assert_eq!(Packet::decode(&other), Err(DecodeError::Kind(kind)));
    }
    let mut flagged = packet[..packet.len() - CHECKSUM_LEN].to_vec();
    for bit in 0..8 {
        flagged[1] = 1 << bit;
        let decoded = Packet::decode(&with_checksum(flagged.clone())).map(|_| ());
        assert_eq!(decoded, Err(DecodeError::Reserved));
    }
}

#[test]
fn version_lists_come_back_within_their_limits() {
    let mut bytes = Vec::new();
    encode_versions(&mut bytes, SessionId(8));
    let expected = Packet::Versions {
        session: SessionId(8),
        versions: &[VERSION],
    };
    assert_eq!(Packet::decode(&bytes), Ok(expected));
    for count in 0..=MAX_VERSIONS + 2 {
        let list = with_checksum([vec![0; 10], vec![1; count]].concat());
        let is_good = (1..=MAX_VERSIONS).contains(&count);
        assert_eq!(Packet::decode(&list).is_ok(), is_good, "{count} versions");
    }
    let mut flagged = vec![0; 11];
    for first in 1..16 {
        flagged[0] = first;
        let list = with_checksum(flagged.clone());
        assert_eq!(Packet::decode(&list), Err(DecodeError::Reserved));
    }
}

#[test]
fn frames_that_nobody_knows_are_left_out() {
    let mut content = 5_u64.to_be_bytes().to_vec();
    content.extend([0x90, 0, 2, 1, 2, 0x00, 0, 3, 0, 0, 0]);
    let ping = Frame::Ping(Ping {
        sent_end: 1,
        interval_us: 2,
    });
    ping.encode(&mut content);
    let packet = raw_packet(Kind::Control, &content);
    let Ok(Packet::Frames { frames, tag: 5, .. }) = Packet::decode(&packet) else {
        panic!("not readable");
    };
    assert_eq!(frames, [ping]);
    content.extend([0x20, 0, 0]);
    let packet = raw_packet(Kind::Control, &content);
    assert_eq!(Packet::decode(&packet), Err(DecodeError::Unknown(0x20)));
}
