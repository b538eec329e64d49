# SPDX-License-Identifier: Apache-2.0
# bad_moew: damaged and forged files of packed weights; a forged one has good checksums.
import struct

ODD, ODD2, MASK = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, (1 << 64) - 1
HEADER = ("magic", "version", "file_bytes", "table_at", "table_bytes", "table_checksum",
          "layers", "checksum")
NUMBERS = ("range", "expert", "dtype", "cols", "kpack", "n", "k", "streams", "offset", "size",
           "checksum")


def checksum(data):
    """As runtime/checksum.c."""
    def mix(lane, word):
        lane = (lane ^ word) * ODD & MASK
        return (lane << 29 | lane >> 35) & MASK

    def finish(h):
        h = (h ^ h >> 32) * ODD2 & MASK
        h = (h ^ h >> 29) * ODD & MASK
        return h ^ h >> 32

    lanes, h, whole = [1, 2, 3, 4], len(data), len(data) // 32 * 32
    for i, word in enumerate(struct.unpack(f"<{whole // 8}Q", data[:whole])):
        lanes[i % 4] = mix(lanes[i % 4], word)
    for i, word in enumerate(struct.unpack("<4Q", data[whole:].ljust(32, b"\0"))):
        h = finish(h ^ mix(lanes[i], word))
    return h


class Moew:
    """The parts of a file: header fields, images, layers of the table with their entries."""

    def __init__(self, data):
        self.header = dict(zip(HEADER, struct.unpack("<8s7Q", data[:64])))
        self.image = data[64:self.header["table_at"]]
        self.table, self.at = data[self.header["table_at"]:], 0
        self.layers = []
        for _ in range(self.header["layers"]):
            layer = {"name": self.text(), "target": self.text()}
            layer["fingerprint"], n = self.numbers(2)
            layer["entries"] = [{"name": self.text(), **dict(zip(NUMBERS, self.numbers(11)))}
                                for _ in range(n)]
            self.layers.append(layer)

    def text(self):
        n, = struct.unpack_from("<I", self.table, self.at)
        self.at += 4 + n
        return self.table[self.at - n:self.at]

    def numbers(self, n):
        self.at += 8 * n
        return struct.unpack_from(f"<{n}Q", self.table, self.at - 8 * n)

    def put_table(self):
        def text(s):
            return struct.pack("<I", len(s)) + s

        for layer in self.layers:
            yield text(layer["name"]) + text(layer["target"])
            yield struct.pack("<2Q", layer["fingerprint"],
                              layer.get("count", len(layer["entries"])))
            for e in layer["entries"]:
                yield text(e["name"]) + struct.pack("<11Q", *(e[n] & MASK for n in NUMBERS))

    def bytes(self, table=None, **header):
        """Put together again, with good checksums unless a field says otherwise."""
        table = b"".join(self.put_table()) if table is None else table
        size = 64 + len(self.image) + len(table)
        fields = {**self.header, "layers": len(self.layers), "file_bytes": size,
                  "table_at": 64 + len(self.image), "table_bytes": len(table),
                  "table_checksum": checksum(table), **header}
        head = struct.pack("<8s6Q", *(fields[n] for n in HEADER[:-1]))
        sum_ = header.get("checksum", checksum(head))
        return head + struct.pack("<Q", sum_) + self.image + table


def flipped(data, at, bit=0):
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1:]


def damaged(good):
    end, table = len(good), struct.unpack_from("<Q", good, 24)[0]

    yield "empty", b"", "too short"
    yield "one_byte", good[:1], "too short"
    yield "header_cut", good[:63], "too short"
    yield "header_alone", good[:64], "were written"
    yield "image_cut", good[:4096 + 10], "were written"
    yield "table_cut", good[:table + 3], "were written"
    yield "last_byte_cut", good[:-1], "were written"
    yield "one_byte_more", good + b"\0", "were written"
    yield "twice", good + good, "were written"
    yield "magic", flipped(good, 0), "not a .moew file"
    yield "magic_as_text", good.replace(b"\r\n\x1a\n", b"\n\x1a\n", 1), "not a .moew file"
    yield "safetensors", struct.pack("<Q", 2) + b"{}" + bytes(100), "not a .moew file"
    yield "zeros", bytes(end), "not a .moew file"
    yield "version_2", good[:8] + struct.pack("<Q", 2) + good[16:], "version 2"
    yield "version_max", good[:8] + b"\xff" * 8 + good[16:], "version 18446744073709551615"
    yield "header_flip", flipped(good, 20), "the header is damaged"
    yield "header_sum_flip", flipped(good, 60), "the header is damaged"
    yield "table_flip", flipped(good, table + 9, 3), "the table is damaged"
    yield "last_flip", flipped(good, end - 1, 7), "the table is damaged"
    yield "first_weight_flip", flipped(good, 4096), "is damaged"


def forged(good):
    def change(**fields):
        m = Moew(good)
        for name, value in fields.items():
            m.layers[0]["entries"][1][name] = value
        return m.bytes()

    def layer(**fields):
        m = Moew(good)
        m.layers[0].update(fields)
        return m.bytes()

    m = Moew(good)
    assert m.bytes() == good, "the reader of .moew in the tests is wrong"
    table = b"".join(m.put_table())
    entries = m.layers[0]["entries"]
    yield "size_0", m.bytes(file_bytes=0), "were written"
    yield "size_max", m.bytes(file_bytes=MASK), "were written"
    yield "table_beyond", m.bytes(table_at=1 << 40), "the table is not at the end"
    yield "table_wraps", m.bytes(table_at=MASK - 7, table_bytes=16), "not at the end"
    yield "table_short", m.bytes(table_bytes=8), "the table is not at the end"
    yield "table_max", m.bytes(table_bytes=MASK), "the table is not at the end"
    yield "table_empty", m.bytes(b""), "the table is cut short"
    yield "table_half", m.bytes(table[:len(table) // 2]), "the table is cut short"
    yield "no_layers", m.bytes(b"", layers=0), "holds no layer tiny"
    yield "layers_0", m.bytes(layers=0), "goes on after its last layer"
    yield "table_tail", m.bytes(table + b"\0"), "goes on after its last layer"
    yield "layers_2", m.bytes(layers=2), "cut short"
    yield "layers_max", m.bytes(layers=MASK), "cut short"
    yield "name_long", m.bytes(struct.pack("<I", 0xffffffff) + table[4:]), "cut short"
    yield "name_4097", layer(name=b"a" * 4097), "cut short"
    yield "name_nul", layer(name=b"ti\0ny"), "cut short"
    yield "name_other", layer(name=b"other"), "holds no layer tiny"
    yield "name_escape", layer(name=b"\x1b[2Jtiny"), "holds no layer tiny"
    yield "target_escape", layer(target=b"\x1b[31m\x07", fingerprint=1), "packed for"
    yield "fingerprint", layer(fingerprint=m.layers[0]["fingerprint"] ^ 1), "another layout"
    yield "count_0", layer(entries=[]), "a weight is missing"
    yield "count_less", layer(entries=entries[:-1]), "a weight is missing"
    yield "count_more", layer(entries=entries + entries[-1:]), "more weights than the layer"
    yield "count_max", layer(count=MASK), ""
    yield "order", layer(entries=entries[::-1]), "another shape or place"
    yield "weight_name", change(name=b"nonesuch"), "another shape or place"
    for field in NUMBERS[:-1]:
        yield f"entry_{field}_max", change(**{field: MASK}), "another shape or place"
    yield "offset_next", change(offset=entries[1]["offset"] + 4096), "another shape or place"
    yield "sum", change(checksum=entries[1]["checksum"] ^ 1), "is damaged"

    def moved(by):
        m = Moew(good)
        for e in m.layers[0]["entries"]:
            e["offset"] += by
        return m.bytes()

    yield "image_unaligned", moved(64), "lies outside"
    yield "image_beyond", moved(1 << 40), "lies outside"
    yield "image_in_table", moved(4096), "lies outside"
    yield "image_before", moved(-8192), "lies outside"
    yield "image_on_header", moved(-4096), ""


def cases(good):
    yield from damaged(good)
    yield from forged(good)
