#!/usr/bin/env python3
"""Sends one file to `xfer recv`, speaking the protocol from SPEC.md alone: no code is shared.

    tests/vectors/stranger.py HOST PORT FILE [LOSS]

LOSS is the share of datagrams, 0 to 0.5, that it throws away in either direction. It keeps to the rules
and leaves out what a good sender has beyond them: instead of congestion control it has a small fixed window.
Slow, because BLAKE3 in Python is.
"""

import os
import random
import socket
import struct
import sys
import time
import zlib

import blake3
import codec

WINDOW, INTERVAL_US = 400_000, 5_000


class Reader:
    """Numbers off the front of a frame."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self):
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def bytes(self):
        length = self.number()
        self.at += length
        return self.data[self.at - length:self.at]

    def gap_runs(self):
        return [(self.number(), self.number()) for _ in range(self.number())]


def take(data):
    """The first type-length-value of `data` and the rest; nothing while it is not whole."""
    if len(data) < 3 or len(data) < 3 + struct.unpack(">H", data[1:3])[0]:
        return None
    end = 3 + struct.unpack(">H", data[1:3])[0]
    return data[0], data[3:end], data[end:]


class Stranger:
    def __init__(self, address, path, loss):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(address)
        self.loss, self.random = loss, random.Random(1)
        self.session, self.tag = os.urandom(8), os.urandom(8)
        self.number = 0
        self.content = open(path, "rb").read()
        self.name = os.path.basename(path).encode()
        # What is known of the receiver: packets, its control stream, ours at its end.
        self.seen_end = self.lost_below = self.window = self.acknowledged = 0
        self.largest, self.early, self.next, self.stream = -1, {}, 0, b""
        self.verdict, self.is_open, self.is_closed = None, False, False
        self.blocks, self.block_packet = [], {}
        self.cursor, self.repairs, self.chunk_packet = 0, [], {}
        self.sent_chunks = 0

    def send(self, packet):
        if self.random.random() >= self.loss:
            self.socket.send(codec.packet({"session": self.session.hex(), **packet}))

    def frames(self, kind, number, frames, size=0):
        packet = {"kind": kind, "number": number, "tag": self.tag.hex(), "frames": frames}
        if size:
            bare = len(codec.packet({"session": self.session.hex(), **packet}))
            packet["frames"] = [*frames, {"frame": "Padding", "len": size - bare - 3}]
        self.send(packet)

    def take_number(self):
        self.number += 1
        return self.number - 1

    def control(self, *frames):
        blocks = {"next": self.next, "end": self.next, "missing": []}
        ack = {"frame": "Ack", "largest": self.largest, "delay_us": 0, "blocks": blocks}
        self.frames("Control", self.take_number(), [ack, *frames] if self.largest >= 0 else frames)

    def hello(self, token, datagram_size, number, size):
        self.frames("Hello", number, [{"frame": "Hello", "token": token.hex(),
                                       "datagram_size": datagram_size, "interval_us": INTERVAL_US}], size)

    def receive(self, seconds):
        """The frames of the next good packet: kind, number, list of type and content."""
        self.socket.settimeout(seconds)
        try:
            packet = self.socket.recv(65536)
        except (TimeoutError, BlockingIOError):
            return None
        is_good = struct.unpack(">I", packet[-4:])[0] == zlib.crc32(packet[:-4])
        if not is_good or packet[2:10] + packet[18:26] != self.session + self.tag:
            return None
        if self.random.random() < self.loss:
            return None
        frames, rest = [], packet[26:-4]
        while rest:
            kind, content, rest = take(rest)
            frames.append((kind, content))
        return packet[0] & 15, struct.unpack(">Q", packet[10:18])[0], frames

    def handshake(self):
        while True:
            for size in (8952, 1472, 1452, 1200):
                self.hello(b"", 0, 0, size)
            answer = self.receive(0.3)
            if answer and answer[0] == 2:
                retry = Reader(answer[2][0][1])
                self.token, self.datagram_size = retry.bytes(), retry.number()
                return

    def prepare(self):
        self.chunk_size = self.datagram_size - 30
        self.chunks = -(-len(self.content) // self.chunk_size)
        leaves = blake3.leaf_values(self.content)
        entry = {"name": self.name.hex(), "kind": "File", "size": len(self.content), "modified": None,
                 "mode": 0o600, "identity": None}
        messages = [{"message": "Offer", "first": 0, "entries": [entry]},
                    {"message": "OfferEnd", "files": 1}]
        if len(leaves) > 1:
            messages += [{"message": "Leaves", "file": 0, "first": at,
                          "values": [leaf.hex() for leaf in leaves[at:at + 256]]}
                         for at in range(0, len(leaves), 256)]
        messages.append({"message": "Eof", "file": 0, "size": len(self.content), "chunks": self.chunks,
                         "digest": blake3.merge(leaves).hex()})
        stream = b"".join(codec.message(message) for message in messages)
        self.blocks = [stream[at:at + 900] for at in range(0, len(stream), 900)]

    def send_blocks(self):
        for sequence in range(self.acknowledged, min(self.acknowledged + 8, len(self.blocks))):
            if self.block_packet.get(sequence, -1) < self.lost_below:
                self.block_packet[sequence] = self.number
                self.control({"frame": "Block", "sequence": sequence,
                              "bytes": self.blocks[sequence].hex()})

    def send_chunks(self):
        for _ in range(20):
            if (self.number - self.seen_end) * self.datagram_size >= min(self.window, WINDOW):
                return
            if self.repairs:
                chunk = self.repairs.pop(0)
            elif self.cursor < self.chunks:
                chunk = self.cursor
                self.cursor += 1
            else:
                return
            self.chunk_packet[chunk] = self.number
            self.sent_chunks += 1
            payload = self.content[chunk * self.chunk_size:(chunk + 1) * self.chunk_size]
            self.send({"kind": "Data", "number": self.take_number(), "chunk": chunk,
                       "payload": payload.hex()})

    def on_report(self, report):
        numbers = [report.number() for _ in codec.REPORT_NUMBERS]
        fields = dict(zip(codec.REPORT_NUMBERS, numbers))
        missing = report.gap_runs()
        self.is_open = True
        self.acknowledged = max(self.acknowledged, report.number())
        self.seen_end = max(self.seen_end, fields["largest"] + 1)
        # A packet three others have overtaken is lost.
        self.lost_below = max(self.lost_below, self.seen_end - 3)
        self.window = fields["window"]
        at = fields["page_start"]
        for gap, run in missing:
            for chunk in range(at + gap, at + gap + run):
                is_sent = chunk < self.cursor and chunk not in self.repairs
                if is_sent and self.chunk_packet[chunk] < self.lost_below:
                    self.repairs.append(chunk)
            at += gap + run

    def on_block(self, block):
        sequence, content = block.number(), block.bytes()
        self.early[sequence] = content
        while self.next in self.early:
            self.stream += self.early[self.next]
            self.next += 1
        while message := take(self.stream):
            kind, content, self.stream = message
            if codec.MESSAGES[kind] == "Status":
                self.verdict = content[2]

    def on_packet(self, kind, number, frames):
        if kind == 5:
            self.is_closed = True
        if kind != 4:
            return
        self.largest = max(self.largest, number)
        for frame, content in frames:
            if codec.FRAMES[frame] == "Report":
                self.on_report(Reader(content))
            elif codec.FRAMES[frame] == "Block":
                self.on_block(Reader(content))
                self.control()
            elif codec.FRAMES[frame] == "Close":
                self.is_closed = True

    def run(self, seconds=60):
        self.handshake()
        self.prepare()
        self.hello(self.token, self.datagram_size, self.take_number(), 1200)
        self.window, heard, end = 60_000, time.monotonic(), time.monotonic() + seconds
        while self.verdict is None and not self.is_closed and time.monotonic() < end:
            self.send_blocks()
            self.send_chunks()
            while packet := self.receive(0.001):
                heard = time.monotonic()
                self.on_packet(*packet)
            if time.monotonic() - heard > 0.05:
                heard = time.monotonic()
                if not self.is_open:
                    self.hello(self.token, self.datagram_size, self.take_number(), 1200)
                self.block_packet.pop(self.acknowledged, None)
                self.control({"frame": "Ping", "sent_end": self.cursor, "interval_us": INTERVAL_US})
        for wait in (0.1, 0.2, 0.4, 0.8):
            if not self.is_closed:
                self.control({"frame": "Close", "failure": None})
                while not self.is_closed and (packet := self.receive(wait)):
                    self.on_packet(*packet)
        return self.verdict


def main():
    host, port, path, *loss = sys.argv[1:]
    stranger = Stranger((host, int(port)), path, float(loss[0]) if loss else 0.0)
    verdict = stranger.run()
    words = {0: "committed", 1: "skipped", 2: "failed", None: "no answer"}[verdict]
    print("%s: %s, %d chunks, %d sent, datagrams of %d bytes" % (
        path, words, stranger.chunks, stranger.sent_chunks, stranger.datagram_size))
    sys.exit(0 if verdict in (0, 1) else 1)


if __name__ == "__main__":
    main()
