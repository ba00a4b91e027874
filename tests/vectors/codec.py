"""The packet format of SPEC.md, written from that document with Python's standard library alone.

It shares nothing with the implementation in proto/, so that the two check each other.
"""

import struct
import zlib

# --- numbers and types (SPEC.md, `numbers` and `types`)


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def zigzag(n):
    return varint((n << 1) ^ (n >> 63) if n >= 0 else -2 * n - 1)


def blob(data):
    return varint(len(data)) + data


def option(value, encode):
    return b"\0" if value is None else b"\1" + encode(value)


def listed(values, encode):
    return varint(len(values)) + b"".join(encode(value) for value in values)


def gap_run(item):
    return varint(item["gap"]) + varint(item["run"])


def failure(item):
    return varint(item["code"]) + blob(item["message"].encode())


def block_ack(item):
    return varint(item["next"]) + varint(item["end"]) + listed(item["missing"], gap_run)


def tlv(kind, content):
    return struct.pack(">BH", kind, len(content)) + content


# --- frames

FRAMES = ["Padding", "Hello", "Retry", "Block", "Report", "Ack", "Ping", "Close"]
REPORT_NUMBERS = [
    "largest", "received", "overtaken", "largest_at_us", "delay_us", "ce", "host_drops", "duplicates", "window",
    "first_missing", "end", "page_start", "page_end",
]


def frame(f):
    kind = f["frame"]
    if kind == "Padding":
        content = bytes(f["len"])
    elif kind == "Hello":
        content = (blob(bytes.fromhex(f["token"])) + varint(f["datagram_size"])
                   + varint(f["interval_us"]))
    elif kind == "Retry":
        content = blob(bytes.fromhex(f["token"])) + varint(f["received_size"])
        content += varint(f["arrived_at_us"])
    elif kind == "Block":
        content = varint(f["sequence"]) + blob(bytes.fromhex(f["bytes"]))
    elif kind == "Report":
        content = b"".join(varint(f[name]) for name in REPORT_NUMBERS)
        content += listed(f["missing"], gap_run) + block_ack(f["blocks"])
    elif kind == "Ack":
        content = varint(f["largest"]) + varint(f["delay_us"]) + block_ack(f["blocks"])
    elif kind == "Ping":
        content = varint(f["sent_end"]) + varint(f["interval_us"])
    else:
        content = option(f["failure"], failure)
    return tlv(FRAMES.index(kind), content)


# --- messages

MESSAGES = [None, "Offer", "OfferEnd", "Answer", "Hold", "Want", "Resume", "Leaves", "Eof", "Abandon",
            "Status"]


def timestamp(t):
    return zigzag(t["seconds"]) + varint(t["nanos"])


def entry(e):
    return (blob(bytes.fromhex(e["name"])) + varint(["File", "Directory"].index(e["kind"]))
            + varint(e["size"]) + option(e["modified"], timestamp) + option(e["mode"], varint)
            + option(e["identity"], varint))


def verdict(v):
    if isinstance(v, dict):
        return varint(2) + failure(v["Failed"])
    return varint(["Committed", "Skipped"].index(v))


def message(m):
    kind = m["message"]
    if kind == "Offer":
        content = varint(m["first"]) + listed(m["entries"], entry)
    elif kind == "OfferEnd":
        content = varint(m["files"])
    elif kind == "Answer":
        content = varint(m["through"])
    elif kind in ("Hold", "Want"):
        content = varint(m["file"])
    elif kind == "Resume":
        content = varint(m["file"]) + bytes([m["is_same_source"]])
        content += listed(m["leaves"], lambda l: varint(l["index"]) + bytes.fromhex(l["value"]))
    elif kind == "Leaves":
        content = varint(m["file"]) + varint(m["first"]) + listed(m["values"], bytes.fromhex)
    elif kind == "Eof":
        content = varint(m["file"]) + varint(m["size"]) + varint(m["chunks"])
        content += bytes.fromhex(m["digest"])
    elif kind == "Abandon":
        content = varint(m["file"]) + failure(m["failure"])
    else:
        content = listed(m["files"], lambda s: varint(s["file"]) + verdict(s["verdict"]))
    return tlv(MESSAGES.index(kind), content)


# --- packets

KINDS = [None, "Hello", "Retry", "Data", "Control", "Reset", "Part", "Parity"]


def sealed(body):
    return body + struct.pack(">I", zlib.crc32(body))


def packet(p):
    session = bytes.fromhex(p["session"])
    if p["kind"] == "Versions":
        return sealed(b"\0\0" + session + bytes(p["versions"]))
    header = bytes([1 << 4 | KINDS.index(p["kind"]), 0]) + session + struct.pack(">Q", p["number"])
    if p["kind"] == "Data":
        return sealed(header + struct.pack(">Q", p["chunk"]) + bytes.fromhex(p["payload"]))
    if p["kind"] == "Part":
        return sealed(header + struct.pack(">QH", p["chunk"], p["offset"])
                      + bytes.fromhex(p["payload"]))
    if p["kind"] == "Parity":
        block = p["first"].to_bytes(6, "big") + bytes([p["count"], p["index"]])
        return sealed(header + block + bytes.fromhex(p["payload"]))
    return sealed(header + bytes.fromhex(p["tag"]) + b"".join(frame(f) for f in p["frames"]))


# --- parity


def times(a, b):
    """The product of two elements of GF(2^8)."""
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = a << 1 ^ (0x11D if a & 0x80 else 0)
        b >>= 1
    return product


def parity(index, size, symbols):
    """The parity symbol `index` of `size` bytes over `symbols`."""
    total = bytearray(size)
    for at, symbol in enumerate(symbols):
        divisor = (255 - index) ^ at
        factor = next(n for n in range(1, 256) if times(n, divisor) == 1)
        for byte, value in enumerate(symbol):
            total[byte] ^= times(factor, value)
    return bytes(total)
