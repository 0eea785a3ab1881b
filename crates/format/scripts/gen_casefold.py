#!/usr/bin/env python3
"""Writes src/ext4/casefold/tables.rs from the Unicode Character Database 12.1.0.

The version is part of ext4's format: directories hash the folded name, so newer data would lose files. Two packages
carry that version of the database in a form that is easy to read; both are fetched by hand and given as paths:

    pip download --no-deps --no-binary :all: unicodedata2==12.1.0   (tar xf; decompositions and combining classes)
    npm pack @unicode/unicode-12.1.0                                (tar xf; CaseFolding C and F, default ignorables)
    gen_casefold.py unicodedata2-12.1.0/unicodedata2/py3/unicodedata_db.h package > src/ext4/casefold/tables.rs

What is computed for each code point, following the rules of the kernel's fs/unicode (form "nfdicf"):
  * a default ignorable maps to nothing;
  * else a full case folding (statuses C and F; neither S nor the Turkic T), if there is one;
  * else the canonical decomposition, if there is one;
  * and all this again on each code point of the result, until nothing changes.
Hangul syllables are left out: they decompose by arithmetic.
"""

import base64
import gzip
import json
import pathlib
import re
import sys

BLOCK_BITS = 6
FIRST_MAPPING = 0x100


def read_database(path):
    """CPython's tables: canonical decompositions and combining classes."""
    text = pathlib.Path(path).read_text()
    assert re.search(r'#define UNIDATA_VERSION "12\.1\.0"', text), "not Unicode 12.1.0"

    def array(name):
        body = re.search(r"\b%s\[\] = \{(.*?)\n\};" % name, text, re.S).group(1)
        return [int(n) for n in re.findall(r"\d+", body)]

    def define(name):
        return int(re.search(r"#define %s (\d+)" % name, text).group(1))

    def lookup(first, second, shift, cp):
        return second[(first[cp >> shift] << shift) + (cp & ((1 << shift) - 1))]

    fields = 6  # category, combining, bidirectional, mirrored, east_asian_width, normalization_quick_check
    records = array("_PyUnicode_Database_Records")
    index1, index2, shift = array("index1"), array("index2"), define("SHIFT")
    dindex1, dindex2, dshift = array("decomp_index1"), array("decomp_index2"), define("DECOMP_SHIFT")
    data = array("decomp_data")
    combining, decompositions = {}, {}
    for cp in range(0x110000):
        ccc = records[lookup(index1, index2, shift, cp) * fields + 1]
        if ccc:
            combining[cp] = ccc
        at = lookup(dindex1, dindex2, dshift, cp)
        count, prefix = data[at] >> 8, data[at] & 255
        if count and prefix == 0:  # another prefix is a compatibility decomposition
            decompositions[cp] = data[at + 1 : at + 1 + count]
    return combining, decompositions


def read_foldings(package, status):
    text = (package / "Case_Folding" / status / "code-points.mjs").read_text()
    blob = re.search(r"Buffer\.from\('([^']+)'", text).group(1)
    pairs = json.loads(gzip.decompress(base64.b64decode(blob)))
    return {cp: to if isinstance(to, list) else [to] for cp, to in pairs}


def read_ranges(package, name):
    """Run lengths as 5, 10, 15 or 21 bit numbers in base 64 (the package's decode-ranges.mjs)."""
    text = (package / "Binary_Property" / name / "ranges.mjs").read_text()
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    values = [digits.index(c) for c in re.search(r"decodeRanges\('([^']+)'", text).group(1)]
    deltas, i = [], 0
    while i < len(values):
        x, more = values[i], 0
        if x & 32:
            more = {32: 1, 40: 1, 48: 2, 56: 3}[x & 56]
            x &= {1: 15, 2: 7, 3: 7}[more]
        for digit in values[i + 1 : i + 1 + more]:
            x = (x << 6) | digit
        deltas.append(x)
        i += 1 + more
    end, members = -1, set()
    for skip, length in zip(deltas[::2], deltas[1::2]):
        begin = end + 1 + skip
        end = begin + 1 + length
        members.update(range(begin, end))
    return members


def expand(mapping):
    """Applies the mapping to its own results until nothing changes."""

    def full(cp):
        return [d for c in mapping[cp] for d in full(c)] if cp in mapping else [cp]

    return {cp: full(cp) for cp in mapping}


def numbers(values, per_line):
    for i in range(0, len(values), per_line):
        yield "    " + ", ".join(str(v) for v in values[i : i + per_line]) + ","


def main():
    combining, decompositions = read_database(sys.argv[1])
    package = pathlib.Path(sys.argv[2])
    assert json.loads((package / "package.json").read_text())["name"] == "@unicode/unicode-12.1.0"
    foldings = {**read_foldings(package, "C"), **read_foldings(package, "F")}
    ignorable = read_ranges(package, "Default_Ignorable_Code_Point")

    mapping = {**decompositions, **foldings, **{cp: [] for cp in ignorable}}
    mapping = expand(mapping)
    assert not any(0xAC00 <= c <= 0xD7A3 for to in mapping.values() for c in [*to])
    assert all(c not in mapping for to in mapping.values() for c in to)

    # One range of ignorables lies far above everything else; the table stops below it.
    far = range(0xE0000, 0xE1000)
    assert all(mapping.pop(cp) == [] for cp in far)

    # Equal results share their text; the empty one comes first.
    results = sorted({tuple(to) for to in mapping.values()})
    assert results[0] == ()
    number = {to: FIRST_MAPPING + i for i, to in enumerate(results)}
    value = {**combining, **{cp: number[tuple(to)] for cp, to in mapping.items()}}
    assert max(combining.values()) < FIRST_MAPPING and max(value.values()) < 0x10000

    size = 1 << BLOCK_BITS
    blocks, first = {}, []
    for start in range(0, 0x110000, size):
        block = tuple(value.get(cp, 0) for cp in range(start, start + size))
        first.append(blocks.setdefault(block, len(blocks)))
    while first[-1] == blocks[(0,) * size]:
        first.pop()
    assert len(first) * size <= far.start and len(blocks) <= 256

    ends, text, width = [0], [], 0
    lines, line = [], ""
    for to in results:
        for cp in to:
            piece = chr(cp) if 0x61 <= cp <= 0x7A else "\\u{%x}" % cp
            if len(line) + len(piece) > 110:
                lines.append(line)
                line = ""
            line += piece
        width += sum(len(chr(cp).encode()) for cp in to)
        ends.append(width)
    lines.append(line)
    assert width < 0x10000

    out = ["// Generated by scripts/gen_casefold.py from the Unicode Character Database 12.1.0: do not edit."]
    out += ["// Copyright (C) 1991-2019 Unicode, Inc.; see LICENSE-UNICODE.", ""]
    out += ["/// Code points of one block, as a power of two.", f"pub(super) const BLOCK_BITS: u32 = {BLOCK_BITS};", ""]
    out += ["/// Values from here on are mappings; below are combining classes.", f"pub(super) const FIRST_MAPPING: u16 = {FIRST_MAPPING:#x};", ""]
    out += ["/// Code points that map to nothing, above the table."]
    out += [f"pub(super) const FAR_IGNORABLES: std::ops::Range<u32> = {far.start:#x}..{far.stop:#x};", ""]
    out += ["/// Which block a code point is in. Past the end every value is 0.", "#[rustfmt::skip]"]
    out += [f"pub(super) static BLOCK_OF: [u8; {len(first)}] = [", *numbers(first, 28), "];", ""]
    flat = [v for block in blocks for v in block]
    out += ["/// The value of each code point, block by block.", "#[rustfmt::skip]"]
    out += [f"pub(super) static VALUES: [u16; {len(flat)}] = [", *numbers(flat, 18), "];", ""]
    out += ["/// Mapping `i` is `MAPPED[ENDS[i]..ENDS[i + 1]]`.", "#[rustfmt::skip]"]
    out += [f"pub(super) static ENDS: [u16; {len(ends)}] = [", *numbers(ends, 18), "];", ""]
    out += ["/// The texts of all mappings.", "#[rustfmt::skip]", 'pub(super) static MAPPED: &str = "\\', *[l + "\\" for l in lines], '";']
    print("\n".join(out))
    print(f"{len(mapping)} mappings, {len(combining)} combining, {len(results)} texts of {width} bytes, "
          f"{len(blocks)} blocks, {len(first)} block numbers", file=sys.stderr)


main()
