"""The hash as a value: like a dict whatever is done to it, packed while small, and what OBJECT
ENCODING says beside that.
"""

from __future__ import annotations

from binascii import crc32
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from memstore.engine.values.hash import PACKED_BYTES, PACKED_PAIRS, SPLIT_PAIRS, Hash
from memstore.engine.values.incremental_dict import IncrementalDict
from memstore.engine.values.packed import CRLF, NEWLINE, unpack
from memstore.engine.values.packed_pairs import PackedPairs

# pieces of the packed form, equal fields and values, and what is never packed
text = st.one_of(
    st.sampled_from(
        [
            b"a",
            b"b",
            b"$1\r",
            b"$",
            b"\n",
            b"\r",
            b"\r\n",
            b"1",
            b"$1\r\na\r\n",
            b"x" * 64,
            b"x" * 65,
            b"y" * 1500,
        ]
    ),
    st.binary(max_size=3),
)
step = st.one_of(
    st.tuples(st.just("put"), text, text),
    st.tuples(st.just("put"), text, text),
    st.tuples(st.just("remove"), text, st.just(b"")),
    st.tuples(st.just("many"), st.sampled_from([b"5", b"70", b"400"]), text),
)


@given(st.lists(step, max_size=40))
def test_it_is_a_dict(steps: list[tuple[str, bytes, bytes]]) -> None:
    value, model = Hash(), dict[bytes, bytes]()
    for name, field, new in steps:
        if name == "put":
            assert value.put(field, new, 512, 64) == (field not in model)
            model[field] = new
        elif name == "remove":
            assert value.remove(field) == (model.pop(field, None) is not None)
        else:
            for n in range(int(field)):
                value.put(b"%d" % n, new, 512, 64)
                model[b"%d" % n] = new
        assert len(value) == len(model)
        for looked in (field, new, b"a", b"1"):
            expected = model.get(looked)
            assert value.get(looked) == expected and (looked in value) == (looked in model)
            assert value.encoded(looked) == (
                None if expected is None else b"$%d\r\n%b\r\n" % (len(expected), expected)
            )
    assert dict(value.items()) == model == dict(zip(value.fields(), value.values(), strict=True))
    assert sorted(unpack(value.encoded_pairs(), 2 * len(model))) == sorted(
        [*model.keys(), *model.values()]
    )
    if model:
        assert value.random(Random(1)) in model
    again = Hash()
    for field in sorted(model, reverse=True):
        again.put(field, model[field], 1, 1)
    assert again.span(0, 0) == value.span(0, 0)
    copy = value.copy()
    copy.put(b"new", b"new", 512, 64)
    assert dict(value.items()) == model and dict(copy.items()) == {**model, b"new": b"new"}


def filled(pairs: int) -> Hash:
    value = Hash()
    for n in range(pairs):
        value.put(b"field:%d" % n, b"value", 512, 64)
    return value


def test_one_object_then_sixteen_then_a_table_and_never_back() -> None:
    value = filled(PACKED_PAIRS)
    assert type(value.data) is bytes
    value.put(b"field:0", b"other", 512, 64)
    assert type(value.data) is bytes
    value.put(b"one more", b"", 512, 64)
    assert (
        type(value.data) is PackedPairs
        and value.get(b"field:0") == b"other"
        and len(value) == PACKED_PAIRS + 1
    )
    value.remove(b"one more")
    assert type(value.data) is PackedPairs, (
        "a hash at the border would change its form with every command"
    )
    value = filled(SPLIT_PAIRS)
    assert type(value.data) is PackedPairs and sum(part != b"" for part in value.data.parts) == 16
    value.put(b"one more", b"", 512, 64)
    assert type(value.data) is IncrementalDict and len(value) == SPLIT_PAIRS + 1
    value.remove(b"one more")
    assert type(value.data) is IncrementalDict and value.listpack is False


def test_packed_up_to_a_number_of_bytes() -> None:
    value = filled(3)
    for n in range(200):
        value.put(b"field:%d" % n, b"v" * 1000, 512, 64)
        if type(value.data) is bytes:
            assert len(value.data) <= PACKED_BYTES
        elif type(value.data) is PackedPairs:
            assert n < 100 and max(map(len, value.data.parts)) <= PACKED_BYTES
        assert len(value) == max(3, n + 1)
    assert type(value.data) is IncrementalDict
    for pairs in (40, 100):
        value = filled(pairs)
        value.put(b"field:3", b"v" * 1024, 512, 64)
        assert type(value.data) is IncrementalDict and len(value) == pairs, (
            "longer than what has a prepared head"
        )
    lopsided = Hash()
    fields = [field for n in range(2000) if crc32(field := b"%d" % n) >> 28 == 3]
    for field in fields[:40]:
        lopsided.put(field, b"v" * 100, 512, 64)
    assert type(lopsided.data) is IncrementalDict and dict(lopsided.items()) == dict.fromkeys(
        fields[:40], b"v" * 100
    ), "one part would hold them all"


def test_newlines_are_packed_and_line_breaks_are_not() -> None:
    value = filled(3)
    assert value.mark == NEWLINE
    value.put(b"field:1", b"two\nlines", 512, 64)
    assert (
        value.mark == CRLF
        and isinstance(value.data, bytes)
        and value.get(b"field:1") == b"two\nlines"
        and value.get(b"field:2") == b"value"
    )
    value.put(b"a\r\nb", b"", 512, 64)
    assert type(value.data) is IncrementalDict and len(value) == 4
    value = filled(100)
    value.put(b"two\nlines", b"\n", 512, 64)
    assert (
        type(value.data) is PackedPairs
        and value.get(b"two\nlines") == b"\n"
        and value.get(b"field:99") == b"value"
    )
    value.put(b"field:7", b"\r\n", 512, 64)
    assert (
        type(value.data) is IncrementalDict
        and len(value) == 101
        and value.get(b"field:7") == b"\r\n"
    )


def test_the_encoding_told_follows_the_limits_and_stays() -> None:
    value = filled(512)
    assert value.listpack
    value.put(b"field:3", b"x" * 64, 512, 64)
    assert value.listpack
    value.put(b"one more", b"", 512, 64)
    assert not value.listpack
    value.remove(b"one more")
    assert not value.listpack and value.encoding() == b"hashtable"
    for field, new in ((b"x" * 65, b""), (b"", b"x" * 65), (b"field:0", b"x" * 65)):
        value = filled(1)
        assert value.encoding() == b"listpack"
        value.put(field, new, 512, 64)
        assert not value.listpack and isinstance(value.data, bytes), (
            "told as a hashtable, and packed all the same"
        )


def test_scanning_returns_a_listpack_whole_and_a_hashtable_in_parts() -> None:
    assert (value := filled(500)).scan(0, 10) == (0, list(value.items()))
    value = filled(5000)
    found, cursor, calls = set[bytes](), 0, 0
    while cursor or not calls:
        cursor, pairs = value.scan(cursor, 10)
        found.update(field for field, _ in pairs)
        calls += 1
    assert found == set(value.fields()) and calls > 20


def test_any_field_by_chance_as_often_as_another() -> None:
    for pairs in (10, 100, 1000):
        value, rng = filled(pairs), Random(7)
        seen: dict[bytes, int] = {}
        for _ in range(40 * pairs):
            field = value.random(rng)
            seen[field] = seen.get(field, 0) + 1
        assert len(seen) == pairs and all(5 < times < 100 for times in seen.values())


def test_size_counts_what_is_held() -> None:
    small, middling, large = filled(10), filled(500), filled(10_000)
    assert 300 < small.size() < 700 and 500 * 20 < middling.size() < 500 * 40
    assert 10_000 * 90 < large.size() < 10_000 * 200
    for n in range(10_000):
        large.put(b"field:%d" % n, b"v" * 500, 512, 64)
    assert large.size() > 10_000 * 580
