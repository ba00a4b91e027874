#!/usr/bin/env python3
"""Makes tests/vectors/*.json and the appendix of SPEC.md. Run it from anywhere; it takes a minute."""

import json
import pathlib
import struct
import zlib

import blake3
import codec

HERE = pathlib.Path(__file__).parent
SPEC = HERE.parent.parent / "SPEC.md"
SESSION, TAG = "0123456789abcdef", "fedcba9876543210"
BIG = (1 << 64) - 1


def short(data):
    """Hexadecimal, with runs of nine or more zero bytes written as `00{n}`."""
    out, zeros = [], 0
    for byte in data + b"\1":
        if byte == 0:
            zeros += 1
            continue
        out.append("00" * zeros if zeros < 9 else "00{%d}" % zeros)
        out.append("%02x" % byte)
        zeros = 0
    return "".join(out[:-1])


# --- numbers

NUMBERS = [("u64", n) for n in (0, 1, 127, 128, 16383, 16384, (1 << 32) - 1, 1 << 32, BIG)]
NUMBERS += [("u16", 65535), ("u32", (1 << 32) - 1)]
NUMBERS += [("i64", n) for n in (0, -1, 1, -2, 2, (1 << 63) - 1, -(1 << 63))]


def numbers():
    return [{"type": kind, "value": n,
             "hex": (codec.zigzag if kind == "i64" else codec.varint)(n).hex()} for kind, n in NUMBERS]


# --- frames

NO_BLOCKS = {"next": 0, "end": 0, "missing": []}
FAILURE = {"code": 11, "message": "a different file of that name exists"}


def report(**fields):
    base = {name: 0 for name in codec.REPORT_NUMBERS}
    return {"frame": "Report", **base, "missing": [], "blocks": NO_BLOCKS, **fields}


FRAMES = [
    ("padding", {"frame": "Padding", "len": 5}),
    ("hello-without-token", {"frame": "Hello", "token": "", "datagram_size": 0, "interval_us": 25000}),
    ("hello", {"frame": "Hello", "token": "00112233445566778899aabb", "datagram_size": 1472,
               "interval_us": 1000}),
    ("retry", {"frame": "Retry", "token": "00112233445566778899aabb", "received_size": 8952,
               "arrived_at_us": 123456789}),
    ("block", {"frame": "Block", "sequence": 300, "bytes": "02000101"}),
    ("report-first", report(window=46137344)),
    ("report", report(
        largest=1000, received=990, overtaken=4, largest_at_us=123456789, delay_us=250, ce=3, host_drops=2,
        duplicates=1, window=20000000, first_missing=12, end=900, page_start=12, page_end=900,
        missing=[{"gap": 0, "run": 3}, {"gap": 2, "run": 1}],
        blocks={"next": 4, "end": 9, "missing": [{"gap": 0, "run": 1}, {"gap": 3, "run": 1}]})),
    ("report-largest-values", report(**{name: (1 << 32) - 1 if name == "delay_us" else BIG
                                        for name in codec.REPORT_NUMBERS})),
    ("ack", {"frame": "Ack", "largest": 17, "delay_us": 40,
             "blocks": {"next": 2, "end": 5, "missing": [{"gap": 0, "run": 2}]}}),
    ("ping", {"frame": "Ping", "sent_end": 100000, "interval_us": 1250}),
    ("close-well", {"frame": "Close", "failure": None}),
    ("close-failed", {"frame": "Close", "failure": FAILURE}),
    ("close-unknown-code", {"frame": "Close", "failure": {"code": 65535, "message": ""}}),
]


def frames():
    return [{"name": name, "fields": f, "hex": short(codec.frame(f))} for name, f in FRAMES]


# --- messages

DIGESTS = [bytes([n] * 32).hex() for n in (0x11, 0x22)]


def entry(name, size=0, kind="File", modified=None, mode=None, identity=None):
    name = name.encode() if isinstance(name, str) else name
    return {"name": name.hex(), "kind": kind, "size": size, "modified": modified, "mode": mode,
            "identity": identity}


MESSAGES = [
    ("offer", {"message": "Offer", "first": 0, "entries": [
        entry("1.png", 1048577, modified={"seconds": 1700000000, "nanos": 999999999}, mode=0o644,
              identity=0x1122334455667788),
        entry("a/empty", modified={"seconds": -1, "nanos": 0}),
        entry("d", kind="Directory", mode=0o755),
        entry(b"\xff\xfe", (1 << 63) - 1)]}),
    ("offer-end", {"message": "OfferEnd", "files": 4}),
    ("answer", {"message": "Answer", "through": 4}),
    ("hold", {"message": "Hold", "file": 1}),
    ("want", {"message": "Want", "file": 200}),
    ("resume", {"message": "Resume", "file": 0, "is_same_source": True,
                "leaves": [{"index": 0, "value": DIGESTS[0]}, {"index": 300, "value": DIGESTS[1]}]}),
    ("leaves", {"message": "Leaves", "file": 0, "first": 0, "values": DIGESTS}),
    ("eof", {"message": "Eof", "file": 0, "size": 1048577, "chunks": 728, "digest": DIGESTS[0]}),
    ("abandon", {"message": "Abandon", "file": 3,
                 "failure": {"code": 2, "message": "the source changed while it was sent"}}),
    ("status", {"message": "Status", "files": [
        {"file": 0, "verdict": "Committed"}, {"file": 1, "verdict": "Skipped"},
        {"file": 3, "verdict": {"Failed": {"code": 2, "message": ""}}}]}),
]


def messages():
    return [{"name": name, "fields": m, "hex": short(codec.message(m))} for name, m in MESSAGES]


# --- packets


def framed(kind, number, *parts, tag=TAG, session=SESSION):
    return {"kind": kind, "session": session, "number": number, "tag": tag, "frames": list(parts)}


def padded(packet, size):
    """The packet of frames filled up to `size` bytes."""
    room = size - len(codec.packet(packet)) - 3
    packet["frames"].append({"frame": "Padding", "len": room})
    return packet


HELLO = dict(FRAMES)["hello"]
PACKETS = [
    ("hello-probe", padded(framed("Hello", 0, dict(FRAMES)["hello-without-token"]), 1472)),
    ("hello-with-token", padded(framed("Hello", 0, HELLO), 1200)),
    ("retry", framed("Retry", 0, dict(FRAMES)["retry"])),
    ("data", {"kind": "Data", "session": SESSION, "number": 258, "chunk": 1 << 33,
              "payload": "000102fdfeff"}),
    ("part", {"kind": "Part", "session": SESSION, "number": 259, "chunk": 1 << 33, "offset": 1275,
              "payload": "fdfeff"}),
    ("parity", {"kind": "Parity", "session": SESSION, "number": 260, "first": (1 << 48) - 3, "count": 2,
                "index": 253, "payload": "00fdfeff"}),
    ("control-from-sender", framed("Control", 7, dict(FRAMES)["ack"], dict(FRAMES)["ping"],
                                   dict(FRAMES)["block"])),
    ("control-from-receiver", framed("Control", BIG, dict(FRAMES)["report"],
                                     {"frame": "Block", "sequence": 0, "bytes": "03000104"})),
    ("reset", framed("Reset", 0, {"frame": "Close", "failure": {"code": 41, "message": ""}})),
    ("versions", {"kind": "Versions", "session": SESSION, "versions": [1]}),
]


def packets():
    return [{"name": name, "fields": p, "hex": short(codec.packet(p))} for name, p in PACKETS]


# --- what must be refused


def rejected():
    good = codec.packet(framed("Control", 7, dict(FRAMES)["ping"]))
    body = good[:-4]

    def changed(at, value, data=body):
        return codec.sealed(data[:at] + bytes([value]) + data[at + 1:])

    def with_frames(*raw):
        return codec.sealed(body[:26] + b"".join(raw))

    ping = codec.frame(dict(FRAMES)["ping"])
    list_head = b"\0\0" + bytes.fromhex(SESSION)
    cases = [
        ("bad-checksum", "packet", good[:-1] + bytes([good[-1] ^ 1]), "Checksum",
         "checksum-1 header-5"),
        ("bit-flip", "packet", good[:30] + bytes([good[30] ^ 16]) + good[31:], "Checksum", "checksum-1"),
        ("checksum-before-content", "packet", with_frames(b"\x77\0\0")[:-1] + b"\0", "Checksum",
         "checksum-2"),
        ("flags", "packet", changed(1, 1), "Reserved", "header-2"),
        ("unknown-kind", "packet", changed(0, 0x18), "Kind(8)", "header-3"),
        ("parity-of-nothing", "packet", codec.sealed(b"\x17" + body[1:24] + b"\0\1\2\3"), "Malformed(7)",
         "parity-1"),
        ("parity-beyond", "packet", codec.sealed(b"\x17" + body[1:24] + b"\2\xfe\2\3"), "Malformed(7)",
         "parity-1"),
        ("part-cut", "packet", codec.sealed(b"\x16" + body[1:26] + b"\4"), "Truncated", "header-5"),
        ("kind-zero", "packet", changed(0, 0x10), "Kind(0)", "header-3"),
        ("other-version", "packet", changed(0, 0x24), "Version(2)", "header-5"),
        ("empty-datagram", "packet", b"", "Truncated", "header-5"),
        ("half-a-header", "packet", good[:12], "Truncated", "header-5"),
        ("no-tag", "packet", codec.sealed(body[:20]), "Truncated", "header-5"),
        ("frame-header-cut", "packet", with_frames(ping, b"\6\0"), "Truncated", "header-5"),
        ("frame-cut", "packet", codec.sealed(body[:-1]), "Truncated", "header-5"),
        ("unknown-frame", "packet", with_frames(ping, codec.tlv(0x08, b"")), "Unknown(8)",
         "extension-2"),
        ("padding-not-zero", "packet", with_frames(codec.tlv(0, b"\0\1")), "Malformed(0)", "frames-2"),
        ("overlong-number", "packet", with_frames(codec.tlv(6, b"\x80\0\1")), "Malformed(6)",
         "numbers-2"),
        ("number-too-large", "packet", with_frames(codec.tlv(6, b"\xff" * 9 + b"\2\1")), "Malformed(6)",
         "numbers-2"),
        ("u16-too-large", "packet", with_frames(codec.tlv(1, b"\0\x80\x80\4\0")), "Malformed(1)",
         "numbers-2"),
        ("field-missing", "packet", with_frames(codec.tlv(6, b"\1")), "Malformed(6)", "numbers-3"),
        ("field-too-many", "packet", with_frames(codec.tlv(6, b"\1\1\0")), "Malformed(6)", "numbers-3"),
        ("bytes-cut", "packet", with_frames(codec.tlv(1, b"\5abcd")), "Malformed(1)", "numbers-3"),
        ("option-neither", "packet", with_frames(codec.tlv(7, b"\2")), "Malformed(7)", "types-1"),
        ("text-not-utf8", "packet", with_frames(codec.tlv(7, b"\1\x0b\1\xff")), "Malformed(7)",
         "types-1"),
        ("versions-none", "packet", codec.sealed(list_head), "Truncated", "version-list-1"),
        ("versions-sixteen", "packet", codec.sealed(list_head + bytes(range(1, 17))), "Truncated",
         "version-list-1"),
        ("versions-kind", "packet", codec.sealed(b"\1\0" + list_head[2:] + b"\1"), "Reserved",
         "version-list-1"),
        ("versions-flags", "packet", codec.sealed(b"\0\1" + list_head[2:] + b"\1"), "Reserved",
         "version-list-1"),
        ("versions-checksum", "packet", codec.sealed(list_head + b"\1")[:-1] + b"\0", "Checksum",
         "checksum-1"),
        ("unknown-message", "message", codec.tlv(0x0B, b""), "Unknown(11)", "extension-3"),
        ("overlong-in-message", "message", codec.tlv(2, b"\x84\0"), "Malformed(2)", "numbers-2"),
        ("bool-neither", "message", codec.tlv(6, b"\0\2\0"), "Malformed(6)", "types-1"),
        ("verdict-unknown", "message", codec.tlv(10, b"\1\0\3"), "Malformed(10)", "types-1"),
        ("entry-kind-unknown", "message", codec.tlv(1, b"\0\1\1a\2\0\0\0\0"), "Malformed(1)", "types-1"),
        ("digest-cut", "message", codec.tlv(8, b"\0\1\1" + bytes(31)), "Malformed(8)", "numbers-3"),
        ("message-trailing", "message", codec.tlv(4, b"\1\0"), "Malformed(4)", "numbers-3"),
    ]
    return [{"name": name, "level": level, "error": error,
             "cites": ["R-" + cite for cite in cites.split()], "hex": short(data)}
            for name, level, data, error, cites in cases]


# --- layout and digests

LAYOUTS = [(10, [0, 25, 0, 0, 10, 1, 0]), (1170, [1169, 1170, 1171, 0, 2340]),
           (1442, [1048577, 5]), (8922, [(1 << 63) - 1, 1])]


def layout():
    cases = []
    for size, files in LAYOUTS:
        first, firsts = 0, []
        for length in files:
            firsts.append(first)
            first += -(-length // size)
        places = []
        wanted = range(first) if first < 20 else [0, firsts[1] - 1, firsts[1], first - 1]
        for chunk in wanted:
            file = max(at for at, start in enumerate(firsts) if start <= chunk and files[at] > 0)
            offset = (chunk - firsts[file]) * size
            places.append({"chunk": chunk, "file": file, "offset": offset,
                           "len": min(size, files[file] - offset)})
        cases.append({"chunk_size": size, "sizes": files, "end": first, "places": places})
    return cases


SIZES = [0, 1, 1023, 1024, 1025, blake3.LEAF - 1, blake3.LEAF, blake3.LEAF + 1, 2 * blake3.LEAF,
         2 * blake3.LEAF + 1, 3 * blake3.LEAF + 5]


def digests():
    content = bytes(range(251)) * (max(SIZES) // 251 + 1)
    out = []
    for size in SIZES:
        leaves = blake3.leaf_values(content[:size])
        out.append({"size": size, "leaves": [leaf.hex() for leaf in leaves],
                    "digest": blake3.merge(leaves).hex()})
    return out


# --- a session

SECRET, MADE_NS = bytes([7] * 32), 5_000_000
ADDRESS, PORT = (192, 168, 122, 72), 40000


def session():
    made = struct.pack(">Q", MADE_NS)
    identity = struct.pack(">BBBBH", *ADDRESS, PORT) + bytes.fromhex(SESSION + TAG)
    token = (made + blake3.keyed(SECRET, made + identity)[:16]).hex()
    content = b"Hello, world\n"
    digest = blake3.digest(content).hex()
    offer = codec.message({"message": "Offer", "first": 0, "entries": [
        entry("hello.txt", len(content), mode=0o644)]})
    offer += codec.message({"message": "OfferEnd", "files": 1})
    eof = codec.message({"message": "Eof", "file": 0, "size": len(content), "chunks": 1,
                         "digest": digest})
    answer = codec.message({"message": "Answer", "through": 1})
    status = codec.message({"message": "Status", "files": [{"file": 0, "verdict": "Committed"}]})

    def block(sequence, data):
        return {"frame": "Block", "sequence": sequence, "bytes": data.hex()}

    def hello(token, size):
        return {"frame": "Hello", "token": token, "datagram_size": size, "interval_us": 25000}

    def blocks(count):
        return {"next": count, "end": count, "missing": []}

    first = report(largest=2, received=3, largest_at_us=40000, window=46137331, first_missing=1, end=1,
                   page_start=1, page_end=1, blocks=blocks(1))
    last = {**first, "largest": 3, "received": 4, "largest_at_us": 41000, "window": 46137344,
            "blocks": blocks(2)}
    ack = {"frame": "Ack", "largest": 1, "delay_us": 0, "blocks": blocks(2)}
    done = {"frame": "Close", "failure": None}
    steps = [
        ("sender", "probe", padded(framed("Hello", 0, hello("", 0)), 1200)),
        ("receiver", "retry", framed("Retry", 0, {"frame": "Retry", "token": token,
                                                  "received_size": 1200,
                                                  "arrived_at_us": 5000})),
        ("sender", "hello", padded(framed("Hello", 0, hello(token, 1200)), 1200)),
        ("sender", "offer", framed("Control", 1, block(0, offer))),
        ("sender", "data", {"kind": "Data", "session": SESSION, "number": 2, "chunk": 0,
                            "payload": content.hex()}),
        ("receiver", "answer", framed("Control", 0, first, block(0, answer))),
        ("sender", "eof", framed("Control", 3, {**ack, "largest": 0, "blocks": blocks(1)},
                                 block(1, eof))),
        ("receiver", "status", framed("Control", 1, last, block(1, status))),
        ("sender", "ack", framed("Control", 4, ack)),
        ("sender", "close", framed("Control", 5, done)),
        ("receiver", "close-answer", framed("Control", 2, done)),
    ]
    return [{"name": name, "from": end, "fields": p, "hex": short(codec.packet(p))}
            for end, name, p in steps]


# --- parity


def parity():
    cases = [("one-chunk", 4, 0, [b"\1\2\x80\xff"]),
             ("three-chunks", 8, 0, [bytes(range(at, at + 8)) for at in (0, 8, 16)]),
             ("three-chunks-second-symbol", 8, 1, [bytes(range(at, at + 8)) for at in (0, 8, 16)]),
             ("last-chunk-shorter", 8, 2, [bytes(range(1, 9)), b"\x55\xaa"]),
             ("largest-block", 2, 0, [bytes([at, 255 - at]) for at in range(254)]),
             ("last-symbol", 2, 253, [b"\1\2", b"\3\4"])]
    return [{"name": name, "fields": {"chunk_size": size, "index": index,
                                      "chunks": [symbol.hex() for symbol in symbols]},
             "hex": codec.parity(index, size, symbols).hex()} for name, size, index, symbols in cases]


# --- files


FILES = {"numbers": numbers, "frames": frames, "messages": messages, "packets": packets,
         "session": session, "rejected": rejected, "layout": layout, "parity": parity,
         "digests": digests}
TITLES = {"numbers": "Numbers", "frames": "Frames", "messages": "Messages", "packets": "Packets",
          "session": "A session", "rejected": "What must be refused", "layout": "Chunks", "parity": "Parity",
          "digests": "Digests"}
INTRO = {
    "session": "One file of 13 bytes, `Hello, world` and a line feed, from 192.168.122.72 port 40000. The "
               "token is what this implementation makes with a secret of 32 bytes `07` when its clock is at "
               "5 ms. Reports and times are one possibility of many.",
    "rejected": "Each is dropped (packets) or ends the session (messages); the error is this "
                "implementation's word for it.",
}


def wrapped(text):
    return "\n".join(text[at:at + 96] for at in range(0, len(text), 96))


def shown(section, vectors):
    """The appendix of one section in Markdown."""
    parts = ['<a id="vectors-%s"></a>\n### %s\n' % (section, TITLES[section])]
    parts += [INTRO[section] + "\n"] if section in INTRO else []
    if section == "numbers":
        rows = ["| `%s` | %d | `%s` |" % (v["type"], v["value"], v["hex"]) for v in vectors]
        return "\n".join(parts + ["| type | value | bytes |", "|---|---|---|"] + rows) + "\n"
    if section == "digests":
        rows = ["| %d | %s | `%s` |" % (v["size"], "<br>".join("`%s`" % leaf for leaf in v["leaves"]),
                                        v["digest"]) for v in vectors]
        return "\n".join(parts + ["| bytes | leaf values | digest |", "|---|---|---|"] + rows) + "\n"
    if section == "layout":
        for v in vectors:
            rows = ["| %(chunk)d | %(file)d | %(offset)d | %(len)d |" % p for p in v["places"]]
            head = "Chunk size %d, files of %s bytes: %d chunks.\n" % (
                v["chunk_size"], ", ".join(map(str, v["sizes"])), v["end"])
            parts += [head, "| chunk | file | offset | length |", "|---|---|---|---|", *rows, ""]
        return "\n".join(parts)
    for v in vectors:
        title = v["name"] + (" (from the %s)" % v["from"] if "from" in v else "")
        about = json.dumps(v["fields"]) if "fields" in v else "%s: %s" % (v["level"], v["error"])
        parts.append("**%s**\n\n```text\n%s\n\n%s\n```\n" % (title, about, wrapped(v["hex"])))
    return "\n".join(parts)


def main():
    assert codec.sealed(b"123456789")[-4:].hex() == "%08x" % zlib.crc32(b"123456789") == "cbf43926"
    appendix = []
    for section, make in FILES.items():
        vectors = make()
        rows = ",\n".join(json.dumps(vector) for vector in vectors)
        (HERE / (section + ".json")).write_text("[\n%s\n]\n" % rows)
        appendix.append(shown(section, vectors))
    begin, end = "<!-- vectors: begin -->\n", "<!-- vectors: end -->"
    spec = SPEC.read_text()
    head, rest = spec.split(begin)
    tail = rest.split(end)[1]
    SPEC.write_text(head + begin + "\n" + "\n".join(appendix) + "\n" + end + tail)


if __name__ == "__main__":
    main()
