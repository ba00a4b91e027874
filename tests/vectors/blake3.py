"""BLAKE3 by leaves (SPEC.md, `digest`), after the BLAKE3 paper. Slow and simple: a second or more a leaf."""

import struct

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT, KEYED_HASH = 1, 2, 4, 8, 16
MASK = 0xFFFFFFFF
LEAF = 1 << 20
LANES = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
         (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))


def compress(cv, block, counter, length, flags):
    m = struct.unpack("<16I", block)
    v = [*cv, *IV[:4], counter & MASK, counter >> 32, length, flags]
    for _ in range(7):
        for at, (a, b, c, d) in enumerate(LANES):
            va, vb, vc, vd = v[a], v[b], v[c], v[d]
            va = va + vb + m[2 * at] & MASK
            vd ^= va
            vd = (vd >> 16 | vd << 16) & MASK
            vc = vc + vd & MASK
            vb ^= vc
            vb = (vb >> 12 | vb << 20) & MASK
            va = va + vb + m[2 * at + 1] & MASK
            vd ^= va
            vd = (vd >> 8 | vd << 24) & MASK
            vc = vc + vd & MASK
            vb ^= vc
            vb = (vb >> 7 | vb << 25) & MASK
            v[a], v[b], v[c], v[d] = va, vb, vc, vd
        m = [m[at] for at in ORDER]
    return tuple(v[at] ^ v[at + 8] for at in range(8))


def words(cv):
    return struct.pack("<8I", *cv)


def piece(data, counter, root, key, mode):
    cv = key
    blocks = [data[at:at + 64] for at in range(0, len(data), 64)] or [b""]
    for at, block in enumerate(blocks):
        flags = mode | (CHUNK_START if at == 0 else 0)
        if at == len(blocks) - 1:
            flags |= CHUNK_END | (ROOT if root else 0)
        cv = compress(cv, block.ljust(64, b"\0"), counter, len(block), flags)
    return cv


def left_of(count):
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def subtree(data, counter, root, key=IV, mode=0):
    pieces = max(1, -(-len(data) // 1024))
    if pieces == 1:
        return piece(data, counter, root, key, mode)
    left = left_of(pieces)
    pair = (words(subtree(data[:left * 1024], counter, False, key, mode))
            + words(subtree(data[left * 1024:], counter + left, False, key, mode)))
    return compress(key, pair, 0, 64, mode | PARENT | (ROOT if root else 0))


def leaf_values(data):
    count = max(1, -(-len(data) // LEAF))
    return [words(subtree(data[at * LEAF:(at + 1) * LEAF], at * 1024, count == 1))
            for at in range(count)]


def merge(values, root=True):
    if len(values) == 1:
        return values[0]
    left = left_of(len(values))
    pair = merge(values[:left], False) + merge(values[left:], False)
    return words(compress(IV, pair, 0, 64, PARENT | (ROOT if root else 0)))


def digest(data):
    return merge(leaf_values(data))


def keyed(secret, data):
    key = struct.unpack("<8I", secret)
    return words(subtree(data, 0, True, key, KEYED_HASH))
