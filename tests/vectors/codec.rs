//! Each vector decoded, compared and encoded again; what must be refused is.

use crate::support::{
    bytes, frame, hex, message, number, packet, spec, take_padding, text, vectors,
};
use serde_json::Value;
use std::collections::BTreeMap;
use xfer_proto::digest::{leaf_count, leaf_range, leaf_value, root};
use xfer_proto::fec;
use xfer_proto::file::layout::Layout;
use xfer_proto::id::{Digest, FileIndex};
use xfer_proto::wire::frame::Frame;
use xfer_proto::wire::message::Message;
use xfer_proto::wire::packet::{self, FrameWriter, Packet};

#[test]
fn numbers_are_written_as_the_spec_says() {
    // SPEC: R-numbers-1
    for vector in vectors("numbers") {
        let value = &vector["value"];
        let made = match text(&vector, "type") {
            "u16" => postcard::to_allocvec(&u16::try_from(value.as_u64().unwrap()).unwrap()),
            "u32" => postcard::to_allocvec(&u32::try_from(value.as_u64().unwrap()).unwrap()),
            "u64" => postcard::to_allocvec(&value.as_u64().unwrap()),
            _ => postcard::to_allocvec(&value.as_i64().unwrap()),
        };
        assert_eq!(hex(&made.unwrap()), text(&vector, "hex"), "{vector}");
    }
}

#[test]
fn frames_are_the_same_bytes_and_fields() {
    for vector in vectors("frames") {
        let raw = bytes(text(&vector, "hex"));
        let (kind, body) = (raw[0], &raw[3..]);
        assert_eq!(usize::from(raw[1]) << 8 | usize::from(raw[2]), body.len());
        let decoded = Frame::decode(kind, body).unwrap();
        if vector["fields"]["frame"] == "Padding" {
            assert_eq!(decoded, None);
            continue;
        }
        let decoded = decoded.unwrap();
        assert_eq!(frame(&decoded), vector["fields"], "{vector}");
        let mut again = Vec::new();
        decoded.encode(&mut again);
        assert_eq!(hex(&again), hex(&raw));
    }
}

#[test]
fn parity_is_the_same_and_brings_a_chunk_back() {
    // SPEC: R-parity-3
    for vector in vectors("parity") {
        let fields = &vector["fields"];
        let (size, index) = (number(fields, "chunk_size"), number(fields, "index"));
        let (size, index) = (size as usize, index as u8);
        let chunks = fields["chunks"].as_array().unwrap().iter();
        let chunks: Vec<Vec<u8>> = chunks.map(|it| bytes(it.as_str().unwrap())).collect();
        let pieces = chunks.iter().map(|chunk| chunk.split_at(chunk.len() / 2));
        let parity = fec::parity(index, size, pieces);
        assert_eq!(hex(&parity), text(&vector, "hex"), "{vector}");
        let last = chunks.len() as u8 - 1;
        let present: Vec<(u8, &[u8])> = (0..last).zip(chunks.iter().map(Vec::as_slice)).collect();
        let found = fec::recover(size, &present, &[last], &[(index, &parity)]).unwrap();
        assert!(found[0].starts_with(&chunks[usize::from(last)]), "{vector}");
    }
}

#[test]
fn messages_are_the_same_bytes_and_fields() {
    for vector in vectors("messages") {
        let raw = bytes(text(&vector, "hex"));
        let mut rest = raw.as_slice();
        let decoded = Message::take(&mut rest).unwrap().unwrap().unwrap();
        assert_eq!(rest, b"");
        assert_eq!(message(&decoded), vector["fields"], "{vector}");
        let mut again = Vec::new();
        decoded.encode(&mut again);
        assert_eq!(hex(&again), hex(&raw));
        for cut in 0..raw.len() {
            assert_eq!(
                Message::take(&mut &raw[..cut]),
                Ok(None),
                "the rest may come"
            );
        }
    }
}

fn encode(decoded: &Packet<'_>, len: usize, is_padded: bool) -> Vec<u8> {
    let mut out = Vec::new();
    match decoded {
        Packet::Data {
            header,
            chunk,
            payload,
        } => {
            packet::encode_data(&mut out, header.session, header.number, *chunk, payload);
        }
        Packet::Part {
            header,
            chunk,
            offset,
            payload,
        } => {
            let at = (*chunk, *offset);
            packet::encode_part(&mut out, header.session, header.number, at, payload, &[]);
        }
        Packet::Parity {
            header,
            of,
            payload,
        } => {
            packet::encode_parity(&mut out, header.session, header.number, *of, payload);
        }
        Packet::Frames {
            header,
            tag,
            frames,
        } => {
            let mut writer =
                FrameWriter::new(header.kind, header.session, header.number, *tag, len);
            assert!(frames.iter().all(|frame| writer.push(frame)));
            if is_padded {
                writer.pad();
            }
            writer.finish(&mut out);
        }
        Packet::Versions { session, .. } => packet::encode_versions(&mut out, *session),
    }
    out
}

#[test]
fn packets_are_the_same_bytes_and_fields() {
    for vector in vectors("packets").into_iter().chain(vectors("session")) {
        let raw = bytes(text(&vector, "hex"));
        let decoded = Packet::decode(&raw).unwrap();
        let mut fields = vector["fields"].clone();
        let padding = take_padding(&mut fields);
        assert_eq!(packet(&decoded), fields, "{vector}");
        let again = encode(&decoded, raw.len(), padding > 0);
        assert_eq!(hex(&again), hex(&raw), "{}", text(&vector, "name"));
    }
}

#[test]
fn every_changed_bit_and_every_cut_is_refused() {
    // SPEC: R-checksum-1, R-header-5
    for vector in vectors("packets") {
        let raw = bytes(text(&vector, "hex"));
        for at in (0..raw.len()).filter(|at| *at < 80 || raw.len() - at < 8) {
            for bit in 0..8 {
                let mut flipped = raw.clone();
                flipped[at] ^= 1 << bit;
                assert!(
                    Packet::decode(&flipped).is_err(),
                    "{vector}: byte {at}, bit {bit}"
                );
            }
        }
        assert!((0..raw.len()).all(|cut| Packet::decode(&raw[..cut]).is_err()));
    }
}

#[test]
fn what_must_be_refused_is_refused_for_the_right_reason() {
    for vector in vectors("rejected") {
        let raw = bytes(text(&vector, "hex"));
        let error = match text(&vector, "level") {
            "packet" => Packet::decode(&raw).err(),
            _ => Message::take(&mut raw.as_slice()).err(),
        };
        let error = error.map_or("nothing".to_owned(), |error| format!("{error:?}"));
        assert_eq!(error, text(&vector, "error"), "{vector}");
    }
}

#[test]
fn ignorable_types_are_skipped() {
    // SPEC: R-extension-1
    let vectors = vectors("packets");
    let ping = vectors
        .iter()
        .find(|vector| vector["name"] == "control-from-sender");
    let raw = bytes(text(ping.unwrap(), "hex"));
    let mut longer = raw[..26].to_vec();
    longer.extend_from_slice(&[0x80, 0, 2, 7, 7]);
    longer.extend_from_slice(&raw[26..raw.len() - 4]);
    longer.extend_from_slice(&[0xff, 0, 0]);
    longer.extend_from_slice(&crc32fast::hash(&longer).to_be_bytes());
    let frames = |datagram: &[u8]| match Packet::decode(datagram) {
        Ok(Packet::Frames { frames, .. }) => frames.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(frames(&longer), frames(&raw));
    let mut stream: &[u8] = &[0x81, 0, 1, 9, 0x04, 0, 1, 3];
    assert_eq!(Message::take(&mut stream), Ok(Some(None)));
    let hold = Message::Hold { file: FileIndex(3) };
    assert_eq!(Message::take(&mut stream), Ok(Some(Some(hold))));
}

#[test]
fn chunks_lie_where_the_spec_says() {
    // SPEC: R-chunks-1
    for vector in vectors("layout") {
        let mut layout = Layout::new(number(&vector, "chunk_size") as usize);
        for size in vector["sizes"].as_array().unwrap() {
            layout.push(size.as_u64().unwrap()).unwrap();
        }
        assert_eq!(layout.end(), number(&vector, "end"));
        for place in vector["places"].as_array().unwrap() {
            let found = layout.place(number(place, "chunk")).unwrap();
            let found = (u64::from(found.file.0), found.offset, found.len as u64);
            let wanted = (
                number(place, "file"),
                number(place, "offset"),
                number(place, "len"),
            );
            assert_eq!(found, wanted, "{place}");
        }
        assert_eq!(layout.place(layout.end()), None);
    }
}

#[test]
fn digests_are_those_of_blake3() {
    // SPEC: R-digest-1, R-digest-2
    for vector in vectors("digests") {
        let size = number(&vector, "size");
        let content: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let leaves: Vec<Digest> = (0..leaf_count(size))
            .map(|index| {
                let (start, end) = leaf_range(size, index);
                leaf_value(size, index, &content[start as usize..end as usize])
            })
            .collect();
        let shown: Vec<String> = leaves.iter().map(ToString::to_string).collect();
        assert_eq!(Value::from(shown), vector["leaves"], "{size} bytes");
        assert_eq!(root(&leaves).to_string(), text(&vector, "digest"));
    }
}

/// The titles and bytes of the vectors that the appendix shows, by the section they stand in.
fn appendix() -> BTreeMap<(String, String), String> {
    let spec = spec();
    let (_, appendix) = spec.split_once("<!-- vectors: begin -->").unwrap();
    let (mut section, mut title) = (String::new(), String::new());
    let mut shown = BTreeMap::new();
    let mut lines = appendix.lines();
    while let Some(line) = lines.next() {
        if let Some(anchor) = line.strip_prefix("<a id=\"vectors-") {
            section = anchor.trim_end_matches("\"></a>").to_owned();
        } else if let Some(name) = line.strip_prefix("**") {
            title = name.split("**").next().unwrap().to_owned();
            title = title.split(" (").next().unwrap().to_owned();
        } else if line == "```text" {
            let about = lines.next().unwrap();
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let bytes = format!("{about}\n{}", block.concat());
            shown.insert((section.clone(), title.clone()), bytes);
        }
    }
    shown
}

#[test]
fn the_appendix_shows_the_vectors() {
    let mut shown = appendix();
    for section in [
        "frames", "messages", "packets", "session", "rejected", "parity",
    ] {
        for vector in vectors(section) {
            let key = (section.to_owned(), text(&vector, "name").to_owned());
            let found = shown
                .remove(&key)
                .unwrap_or_else(|| panic!("{key:?} is not shown"));
            let (about, bytes) = found.split_once('\n').unwrap();
            assert_eq!(bytes, text(&vector, "hex"), "{key:?}");
            match vector.get("fields") {
                Some(fields) => {
                    assert_eq!(&serde_json::from_str::<Value>(about).unwrap(), fields);
                }
                None => assert_eq!(
                    about,
                    format!("{}: {}", text(&vector, "level"), text(&vector, "error"))
                ),
            }
        }
    }
    assert!(shown.is_empty(), "not in tests/vectors: {:?}", shown.keys());
    let spec = spec();
    for vector in vectors("digests") {
        let row = format!(
            "| {} | `{}",
            number(&vector, "size"),
            vector["leaves"][0].as_str().unwrap()
        );
        assert!(spec.contains(&row) && spec.contains(text(&vector, "digest")));
    }
    for vector in vectors("numbers") {
        let row = format!(
            "| `{}` | {} | `{}` |",
            text(&vector, "type"),
            vector["value"],
            text(&vector, "hex")
        );
        assert!(spec.contains(&row), "{row}");
    }
}
