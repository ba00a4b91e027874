//! Reading the vectors, and packets as JSON.

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use xfer_proto::wire::frame::Frame;
use xfer_proto::wire::message::Message;
use xfer_proto::wire::packet::Packet;

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn spec() -> String {
    fs::read_to_string(root().join("SPEC.md")).unwrap()
}

/// The vectors of one file. There is at least one.
pub(crate) fn vectors(section: &str) -> Vec<Value> {
    let path: PathBuf = root()
        .join("tests/vectors")
        .join(section)
        .with_extension("json");
    let text = fs::read_to_string(&path).unwrap();
    let vectors: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(!vectors.is_empty(), "{}", path.display());
    vectors
}

/// A field that is a text.
pub(crate) fn text<'a>(vector: &'a Value, key: &str) -> &'a str {
    vector[key]
        .as_str()
        .unwrap_or_else(|| panic!("no text {key} in {vector}"))
}

/// A field that is a number.
pub(crate) fn number(vector: &Value, key: &str) -> u64 {
    vector[key]
        .as_u64()
        .unwrap_or_else(|| panic!("no number {key} in {vector}"))
}

/// The bytes of a vector, `00{n}` standing for `n` zero bytes.
pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = hex;
    while !rest.is_empty() {
        bytes.push(u8::from_str_radix(&rest[..2], 16).unwrap());
        rest = &rest[2..];
        if let Some(run) = rest.strip_prefix('{') {
            let (count, after) = run.split_once('}').unwrap();
            let more = count.parse::<usize>().unwrap() - 1;
            bytes.resize(bytes.len() + more, 0);
            rest = after;
        }
    }
    bytes
}

/// Bytes as plain hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn tagged(key: &str, name: &str, fields: Value) -> Value {
    let mut object = fields;
    object[key] = json!(name);
    object
}

/// A frame with the names that SPEC.md gives its fields.
pub(crate) fn frame(frame: &Frame<'_>) -> Value {
    let plain = |value: serde_json::Result<Value>| value.unwrap();
    match frame {
        Frame::Hello(hello) => json!({
            "frame": "Hello",
            "token": hex(hello.token),
            "datagram_size": hello.datagram_size,
            "interval_us": hello.interval_us,
        }),
        Frame::Retry(retry) => json!({
            "frame": "Retry",
            "token": hex(retry.token),
            "received_size": retry.received_size,
            "arrived_at_us": retry.arrived_at_us,
        }),
        Frame::Block(block) => json!({
            "frame": "Block",
            "sequence": block.sequence,
            "bytes": hex(block.bytes),
        }),
        Frame::Report(report) => tagged("frame", "Report", plain(serde_json::to_value(report))),
        Frame::Ack(ack) => tagged("frame", "Ack", plain(serde_json::to_value(ack))),
        Frame::Ping(ping) => tagged("frame", "Ping", plain(serde_json::to_value(ping))),
        Frame::Close(close) => tagged("frame", "Close", plain(serde_json::to_value(close))),
    }
}

/// A message with the names that SPEC.md gives its fields.
pub(crate) fn message(message: &Message) -> Value {
    match message {
        Message::Offer { first, entries } => {
            let entries: Vec<Value> = entries
                .iter()
                .map(|entry| {
                    let mut value = serde_json::to_value(entry).unwrap();
                    value["name"] = json!(hex(&entry.name));
                    value
                })
                .collect();
            json!({ "message": "Offer", "first": first, "entries": entries })
        }
        Message::OfferEnd { files } => json!({ "message": "OfferEnd", "files": files }),
        Message::Answer { through } => json!({ "message": "Answer", "through": through }),
        Message::Hold { file } => json!({ "message": "Hold", "file": file }),
        Message::Want { file } => json!({ "message": "Want", "file": file }),
        Message::Resume {
            file,
            is_same_source,
            leaves,
        } => {
            let leaves: Vec<Value> = leaves
                .iter()
                .map(|(index, value)| json!({ "index": index, "value": value.to_string() }))
                .collect();
            json!({
                "message": "Resume",
                "file": file,
                "is_same_source": is_same_source,
                "leaves": leaves,
            })
        }
        Message::Leaves {
            file,
            first,
            values,
        } => {
            let values: Vec<String> = values.iter().map(ToString::to_string).collect();
            json!({ "message": "Leaves", "file": file, "first": first, "values": values })
        }
        Message::Eof {
            file,
            size,
            chunks,
            digest,
        } => json!({
            "message": "Eof",
            "file": file,
            "size": size,
            "chunks": chunks,
            "digest": digest.to_string(),
        }),
        Message::Abandon { file, failure } => {
            json!({ "message": "Abandon", "file": file, "failure": failure })
        }
        Message::Status { files } => {
            let files: Vec<Value> = files
                .iter()
                .map(|(file, verdict)| json!({ "file": file, "verdict": verdict }))
                .collect();
            json!({ "message": "Status", "files": files })
        }
    }
}

/// A packet with the names that SPEC.md gives its fields; padding is not shown.
pub(crate) fn packet(packet: &Packet<'_>) -> Value {
    match packet {
        Packet::Data {
            header,
            chunk,
            payload,
        } => json!({
            "kind": "Data",
            "session": header.session.to_string(),
            "number": header.number,
            "chunk": chunk,
            "payload": hex(payload),
        }),
        Packet::Part {
            header,
            chunk,
            offset,
            payload,
        } => json!({
            "kind": "Part",
            "session": header.session.to_string(),
            "number": header.number,
            "chunk": chunk,
            "offset": offset,
            "payload": hex(payload),
        }),
        Packet::Parity {
            header,
            of,
            payload,
        } => json!({
            "kind": "Parity",
            "session": header.session.to_string(),
            "number": header.number,
            "first": of.first,
            "count": of.count,
            "index": of.index,
            "payload": hex(payload),
        }),
        Packet::Frames {
            header,
            tag,
            frames,
        } => json!({
            "kind": format!("{:?}", header.kind),
            "session": header.session.to_string(),
            "number": header.number,
            "tag": format!("{tag:016x}"),
            "frames": frames.iter().map(frame).collect::<Vec<_>>(),
        }),
        Packet::Versions { session, versions } => json!({
            "kind": "Versions",
            "session": session.to_string(),
            "versions": versions,
        }),
    }
}

/// Takes the padding frames out of the fields of a packet; answers how many bytes they hold.
pub(crate) fn take_padding(fields: &mut Value) -> usize {
    let Some(frames) = fields.get_mut("frames").and_then(Value::as_array_mut) else {
        return 0;
    };
    let is_padding = |frame: &Value| frame["frame"] == "Padding";
    let len = frames
        .iter()
        .filter(|frame| is_padding(frame))
        .map(|frame| number(frame, "len") as usize)
        .sum();
    frames.retain(|frame| !is_padding(frame));
    len
}
