"""Every type a key can hold: what answers for it, and that a dump gives the same value back."""

from __future__ import annotations

from binascii import crc32
from itertools import pairwise
from random import Random
from struct import pack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memstore.engine.values.codec import DumpError, DumpReader, dump_strings
from memstore.engine.values.hash import PACKED_PAIRS, SPLIT_PAIRS, Hash
from memstore.engine.values.longstring import LONG, LongString
from memstore.engine.values.quicklist import List
from memstore.engine.values.set import Set, build
from memstore.engine.values.sorted import SortedSet
from memstore.engine.values.value_types import FORMAT, TYPES, dump, load, typed

TEXT = st.one_of(st.binary(max_size=12), st.integers().map(b"%d".__mod__), st.binary(min_size=70))


def content(value: Any) -> tuple[bytes, bytes, bytes]:
    """All that commands and digests can see of a value."""
    it = typed(value)
    return it.type_name, it.encoding(), it.span(0, 0)


def list_of(items: list[bytes]) -> List:
    made = List()
    made.push(items, False)
    return made


def hash_of(pairs: dict[bytes, bytes], most: int = 128) -> Hash:
    made = Hash()
    for field, value in pairs.items():
        made.put(field, value, most, 64)
    return made


def sorted_of(scores: dict[bytes, float]) -> SortedSet:
    made = SortedSet()
    for member, score in scores.items():
        made.put(member, score)
    made.skiplist = len(scores) > 128
    return made


SCORES = st.floats(allow_nan=False)
VALUES = st.one_of(
    TEXT,
    st.lists(TEXT, min_size=1).map(list_of),
    st.sets(TEXT, min_size=1).map(lambda members: build(sorted(members), 512)),
    st.sets(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1).map(
        lambda numbers: build([b"%d" % number for number in numbers], 512)
    ),
    st.dictionaries(TEXT, TEXT, min_size=1).map(hash_of),
    st.dictionaries(TEXT, SCORES, min_size=1).map(sorted_of),
)


@given(VALUES)
def test_a_dump_gives_the_same_value_back(value: Any) -> None:
    again = load(dump(value))
    assert type(again) is type(value) and content(again) == content(value)
    assert dump(again) == dump(value)


def large() -> dict[str, Any]:
    """One value for each way to store or to encode a type."""
    names = [b"member:%d" % n for n in range(1000)]
    shrunk = hash_of(dict.fromkeys(names, b"v"))
    for name in names[3:]:
        shrunk.remove(name)
    return {
        "int": b"12", "embstr": b"a" * 44, "raw": b"a" * 45, "empty": b"",
        "long string": LongString(bytearray(Random(1).randbytes(LONG + 1))),
        "short list": list_of([b"", b"a"]), "long list": list_of([*names, b"x" * 5000, b"7"] * 3),
        "int16": build([b"-3", b"4"], 512), "int32": build([b"%d" % (1 << 20)], 512),
        "int64": build([b"%d" % -(1 << 63)], 512), "set": build(names, 512),
        "set of integers in a table": build([b"%d" % n for n in range(600)], 512),
        "packed hash": hash_of(dict.fromkeys(names[:PACKED_PAIRS], b"v")),
        "pairs": hash_of(dict.fromkeys(names[:SPLIT_PAIRS], b"v"), 1000),
        "hash": hash_of(dict.fromkeys(names, b"v")), "a hash that shrank": shrunk,
        "hashtable": hash_of({b"f": b"x" * 65}),
        "packed zset": sorted_of({b"a": -0.0, b"b": float("inf"), b"c": float("-inf")}),
        "zset": sorted_of({name: float(len(name)) for name in names}),
    }  # fmt: skip


@pytest.mark.parametrize("name", large())
def test_every_form_comes_back(name: str) -> None:
    value = large()[name]
    again = load(dump(value))
    assert type(again) is type(value) and content(again) == content(value)
    assert again == value or not isinstance(value, bytes)


def test_the_forms_cover_every_type_and_encoding() -> None:
    forms = [typed(value) for value in large().values()]
    assert {type(it) for it in forms} == set(TYPES)
    assert {it.encoding() for it in forms} == {
        b"int", b"embstr", b"raw", b"quicklist", b"intset", b"hashtable", b"listpack", b"skiplist",
    }  # fmt: skip


@pytest.mark.parametrize("name", large())
def test_pieces_cover_the_whole(name: str) -> None:
    """The digest goes through a value by them."""
    it, borders, at = typed(large()[name]), [0], 0
    while True:
        at, _, _ = it.cut(at, 50, 2000)
        borders.append(at)
        if not at:
            break
    assert all(one < two for one, two in pairwise(borders[:-1]))
    pieces = sum(len(it.span(one, two)) for one, two in pairwise(borders))
    assert pieces == len(it.span(0, 0))
    assert it.size() > 0 and it.weigh() >= 0


@settings(max_examples=50)
@given(VALUES, st.data())
def test_damage_is_an_error(value: Any, data: st.DataObject) -> None:
    whole = dump(value)
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole)
    damaged[at] ^= data.draw(st.integers(1, 255))
    for wrong in (bytes(damaged), whole[:at], whole + b"x"):
        with pytest.raises(DumpError):
            load(wrong)


def framed(code: int, content: bytes) -> bytes:
    """A dump whose frame is right, whatever the content is."""
    body = bytes((FORMAT, code)) + content
    return body + pack("<I", crc32(body))


@settings(max_examples=200)
@given(st.sampled_from([cls.code for cls in TYPES]), st.binary(max_size=40))
def test_a_right_checksum_does_not_make_content_right(code: int, content: bytes) -> None:
    """What a client made up is refused, or is a value like any other."""
    try:
        value = load(framed(code, content))
    except DumpError:
        return
    assert load(dump(value)) is not None and typed(value).code == code


WRONG = {
    "too short": b"\x01\x01",
    "a format of another version": b"\x02" + framed(1, b"x")[1:],
    "a type that is not known": framed(99, b""),
    "a long string that is short": framed(LongString.code, b"short"),
    "no members": framed(List.code, dump_strings([])),
    "a count beyond the end": framed(List.code, pack("<I", 1 << 31)),
    "a length beyond the end": framed(List.code, pack("<II", 1, 1 << 31)),
    "bytes behind the value": framed(List.code, dump_strings([b"a"]) + b"x"),
    "half a pair": framed(Hash.code, b"\x01" + dump_strings([b"a", b"b", b"c"])),
    "a field twice": framed(Hash.code, b"\x01" + dump_strings([b"a", b"b", b"a", b"c"])),
    "a hash of another encoding": framed(Hash.code, b"\x02" + dump_strings([b"a", b"b"])),
    "a member twice": framed(Set.code, b"t" + dump_strings([b"a", b"a"])),
    "no integers": framed(Set.code, b"h" + pack("<I", 0)),
    "integers out of order": framed(Set.code, b"h" + pack("<Ihh", 2, 2, 1)),
    "an integer twice": framed(Set.code, b"h" + pack("<Ihh", 2, 1, 1)),
    "integers of another width": framed(Set.code, b"b" + pack("<Ib", 1, 1)),
    "a score that is no number": framed(
        SortedSet.code, b"\x00" + dump_strings([b"a"]) + pack("<d", float("nan"))
    ),
    "scores out of order": framed(
        SortedSet.code, b"\x00" + dump_strings([b"a", b"b"]) + pack("<dd", 2, 1)
    ),
    "a member with two scores": framed(
        SortedSet.code, b"\x00" + dump_strings([b"a", b"a"]) + pack("<dd", 1, 2)
    ),
    "scores that are missing": framed(SortedSet.code, b"\x00" + dump_strings([b"a"])),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_value_is_refused(what: str) -> None:
    with pytest.raises(DumpError) as found:
        load(WRONG[what])
    assert str(found.value)


def test_codes_are_for_good() -> None:
    """Dumps are kept: a code that changes would make another value of them."""
    assert {cls.__name__: cls.code for cls in TYPES} == {
        "ShortString": 1, "LongString": 2, "List": 3, "Set": 4, "Hash": 5, "SortedSet": 6,
    }  # fmt: skip
    kept = bytes.fromhex("01030200000001000000010000006162")
    assert dump(list_of([b"a", b"b"])) == kept + pack("<I", crc32(kept))


def test_a_reader_stays_within_its_bytes() -> None:
    reader = DumpReader(b"\x02\x00\x00\x00", 0)
    with pytest.raises(DumpError, match="8 bytes should follow byte 4, 0 do"):
        reader.strings()
