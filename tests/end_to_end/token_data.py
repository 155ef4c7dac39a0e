"""Folders of prepared data, written from the description in docs/formats.md alone: characters as tokens."""

import ctypes
import ctypes.util
import json
import pathlib
import struct


class Xxh128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


def load_hashes():
    """XXH3-128 and XXH3-64 from the library that weir itself uses."""
    library = ctypes.CDLL(ctypes.util.find_library("xxhash") or "libxxhash.so.0")
    library.XXH3_128bits.restype = Xxh128
    library.XXH3_64bits.restype = ctypes.c_uint64
    for function in (library.XXH3_128bits, library.XXH3_64bits):
        function.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    return (lambda data: library.XXH3_128bits(data, len(data))), (lambda data: library.XXH3_64bits(data, len(data)))


def hex_digest(value):
    return f"{value.high:016x}{value.low:016x}"


def shard(tokens, vocabulary):
    """The bytes of a shard of two bytes per token."""
    xxh128, xxh64 = load_hashes()
    payload = struct.pack(f"<{len(tokens)}H", *tokens)
    digest = xxh128(payload)
    header = b"weir tok" + struct.pack("<IIQQQQQ", 1, 2, vocabulary, len(tokens), 0, digest.low, digest.high)
    return header + struct.pack("<Q", xxh64(header)) + payload


PIECES = ["<unk>", "\u2581", *"abcdefghijklmnopqrstuvwxyz"] + [f"unused{i}" for i in range(272)]


def tokenizer(pieces):
    """A SentencePiece BPE model without merges, in the wire format of its ModelProto."""

    def field(number, data):
        return bytes([number << 3 | 2, len(data)]) + data

    def piece(text, kind):
        encoded = text.encode()
        return bytes([1 << 3 | 2, len(encoded)]) + encoded + b"\x15" + struct.pack("<f", 0.0) + bytes([3 << 3, kind])

    model = b""
    for text in pieces:
        content = piece(text, 2 if text == "<unk>" else 1)
        model += b"\x0a" + bytes([len(content)]) + content
    return model + field(2, bytes([3 << 3, 2])) + field(3, b"")


def encode(text):
    """Every line begins with the piece of a blank, as SentencePiece has it."""
    return [1 if c == " " else PIECES.index(c) for line in text.splitlines() for c in " " + line.strip()]


def write_data(folder, text, shard_tokens=1000):
    """Train, valid and test splits of `text` in a folder that weir takes as data.train."""
    folder = pathlib.Path(folder)
    folder.mkdir()
    xxh128, _ = load_hashes()
    lines = text.splitlines()
    cuts = {"train": lines[:-20], "valid": lines[-20:-10], "test": lines[-10:]}
    splits = {}
    for name, part in cuts.items():
        tokens, shards = encode("\n".join(part)), []
        for begin in range(0, len(tokens), shard_tokens):
            piece = tokens[begin:begin + shard_tokens]
            file = f"{name}-{len(shards):05}.tokens"
            (folder / file).write_bytes(shard(piece, len(PIECES)))
            digest = hex_digest(xxh128(struct.pack(f"<{len(piece)}H", *piece)))
            shards.append({"file": file, "tokens": len(piece), "xxh3_128": digest})
        whole = "".join(line + "\n" for line in part)
        splits[name] = {"tokens": len(tokens), "bytes": len(whole), "words": len(whole.split()) + len(part),
                        "shards": shards}
    (folder / "tokenizer.model").write_bytes(tokenizer(PIECES))
    (folder / "dataset.json").write_text(json.dumps(
        {"format": 1, "name": "words", "tokenizer": "tokenizer.model", "vocabulary": len(PIECES), "splits": splits,
         "source": {"text": "made up"}}))
    return splits
