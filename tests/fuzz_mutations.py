"""Mutations of files for `fuzz.py`: of bytes, of tokens that parsers know, and inside of what is packed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import warnings
import zipfile
from collections.abc import Callable

_ESCAPED = r"""
    \0 " ' \n \r\n \r \t , ; \x20 \xff\xff\xff\x7f \xef\xbb\xbf \xc3 \xed\xa0\x80 \\ud800 \xe2\x80\xa8 \xf4\x90\x80\x80
    \x1b[31m \x1a 0 1 2 -1 1e999 -1e-999 NaN Infinity nan 4294967296 9223372036854775808 0x10 1_000 1:30 2024-13-45 ~ no
    true null [] {} ] {{ }} {% ${a.b} ../ ..\\ C:\\ /etc/passwd file:// %00 < <<:\x20*a &a\x20 *a &a\x20[*a] !!int\x20
    !!python/object:os.system\x20 !!binary\x20 !!float\x20x !!timestamp\x20x !!bool\x20x !!set\x20 !!omap\x20
    !!pairs\x20 ?\x20 :\x20 -\x20 |\n >\n ---\n ...\n %YAML\x209.9\n #\x20 <<<<<<<\x20HEAD\n PK\x03\x04 PK\x01\x02
    PK\x05\x06 BZh91AY&SY \xfd7zXZ\0 PAR1 ustar\0 x L K S g 77777777777 \x93NUMPY '|O' '<f8' '>f4' (1,) (9999999999,)
    \x1f\x8b\x08 True False \x80\x04\x95 cos\n \xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01
"""
TOKENS = [token.encode().decode("unicode_escape").encode("latin-1") for token in _ESCAPED.split()]
TOKENS += [b"\0" * 64, b"\xff" * 16, b"9" * 30, b"9" * 5000, b"[" * 2000, b'{"a":' * 2000, b"- " * 2000, b"(" * 300]
TOKENS += [
    b"{" + b", ".join(b"k%d: &k%d [%s]" % (i, i, b"*k%d, " % (i - 1) * 9 if i else b"x") for i in range(9)) + b"}"
]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Returns `data` after one to a few mutations, mostly one."""
    if data[:4] == b"PK\x03\x04" and rng.random() < 0.6:
        return _mutate_member(data, rng)
    for prefix, unpack, pack in PACKERS:
        if data.startswith(prefix) and rng.random() < 0.6:
            return pack(mutate(unpack(data), rng))
    mutated = bytearray(data)
    for _ in range(min(int(rng.expovariate(0.7)) + 1, 8)):
        _mutate_once(mutated, rng)
    return bytes(mutated)


PACKERS: list[tuple[bytes, Callable[[bytes], bytes], Callable[[bytes], bytes]]] = [
    (b"\x1f\x8b", gzip.decompress, lambda data: gzip.compress(data, 1, mtime=0)),
    (b"BZh", bz2.decompress, lambda data: bz2.compress(data, 1)),
    (b"\xfd7zXZ", lzma.decompress, lambda data: lzma.compress(data, preset=0)),
]


def _mutate_member(data: bytes, rng: random.Random) -> bytes:
    """Mutates what a zip holds, or how often, under which name and of which kind; checksums fit what is there."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        items = archive.filelist
        members = [(item.filename, archive.read(item), item.compress_type, item.external_attr) for item in items]
    chosen = rng.randrange(len(members))
    name, content, method, kind = members[chosen]
    how = rng.random()
    if how < 0.85:
        content = mutate(content, rng)
    elif how < 0.9:
        name = (mutate(name.encode(), rng).decode("utf-8", "replace") or "x")[:500]
    elif how < 0.93:
        members.append(members[chosen])
    elif how < 0.95:
        kind = 0o120777 << 16  # a link
    elif how < 0.97:
        method, content = zipfile.ZIP_DEFLATED, content + bytes(rng.choice([1 << 16, 1 << 22, 40_000_000]))
    else:
        del members[rng.randrange(len(members))]
    if chosen < len(members):
        members[chosen] = (name, content, method, kind)
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")
        for name, content, method, kind in members:
            item = zipfile.ZipInfo(name)
            item.compress_type, item.external_attr = method, kind
            archive.writestr(item, content, compresslevel=1)
    return stream.getvalue()


def _mutate_once(data: bytearray, rng: random.Random) -> None:
    size = len(data)
    start = rng.randrange(size + 1)
    end = min(size, start + min(int(rng.expovariate(1 / 16)) + 1, size))
    if rng.random() < 0.1:
        end = rng.randrange(start, size + 1)
    kind = rng.randrange(10)
    if kind <= 1 and size:
        data[start % size] ^= 1 << rng.randrange(8)
    elif kind == 2:
        data[start:end] = rng.randbytes(end - start)
    elif kind == 3:
        del data[start:end]
    elif kind == 4:
        data[start:start] = data[start:end] * rng.choice([1, 1, 1, 2, 50])
    elif kind == 5:
        other = rng.randrange(size + 1)
        data[start:end], data[other : other + end - start] = data[other : other + end - start], data[start:end]
    elif kind == 6 and rng.random() < 0.3:
        del data[start:]
    elif kind == 7:
        data[start:end] = rng.choice(TOKENS)
    elif kind == 8:
        _mutate_number(data, start, rng)
    else:
        data[start:start] = rng.choice(TOKENS)


def _mutate_number(data: bytearray, start: int, rng: random.Random) -> None:
    """Puts another number in place of digits, or of bytes that hold one."""
    digits = next((place for place in range(start, min(len(data), start + 200)) if chr(data[place]).isdigit()), None)
    if digits is not None and rng.random() < 0.6:
        end = digits
        while end < len(data) and chr(data[end]).isdigit():
            end += 1
        data[digits:end] = str(rng.choice([0, 1, 2, 7, 255, 65_536, 2**31, 2**63, 10**18, 10**25, -1, 0.5])).encode()
    else:
        width = rng.choice([1, 2, 4, 8])
        number = rng.choice([0, 1, -1, 2 ** (8 * width - 1) - 1, -(2 ** (8 * width - 1)), rng.randrange(100)])
        data[start : start + width] = number.to_bytes(width, rng.choice(["little", "big"]), signed=True)
