"""Every message survives the wire.
For any bytes, a decoder gives only messages, waits, or raises `WireError`.
"""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
from dataclasses import fields
from typing import Any, get_args, get_type_hints

import pytest
from crc32c import crc32c
from hypothesis import example, given, settings
from hypothesis import strategies as st

from txlog import messages, wire
from txlog.entry import DATA, GENESIS_CHAIN, make_entry
from txlog.messages import Append, Appended, Message, Records, Renew, TailQuery
from txlog.wire import Decoder, WireError, encode

CLASSES = list(get_args(messages.Message))
U64 = st.integers(0, 2**64 - 1)
BY_TYPE: dict[object, st.SearchStrategy[Any]] = {
    int: U64,
    bool: st.booleans(),
    bytes: st.binary(max_size=40) | st.binary(min_size=16, max_size=16),
    str: st.text(max_size=20),
    tuple[int, int]: st.tuples(U64, U64),
    list[bytes]: st.lists(st.binary(max_size=60), max_size=5),
    list[str]: st.lists(st.text(max_size=10), max_size=5),
    list[int]: st.lists(U64, max_size=5),
    list[tuple[int, int]]: st.lists(st.tuples(U64, U64), max_size=5),
}


def instances(cls: type) -> st.SearchStrategy[Any]:
    hints = get_type_hints(cls)
    return st.builds(cls, *[BY_TYPE[hints[field.name]] for field in fields(cls)])


ANY_MESSAGE = st.one_of([instances(cls) for cls in CLASSES])


def frame(body: bytes) -> bytes:
    return struct.pack(">II", len(body), crc32c(body)) + body


def test_every_message_has_a_number_of_its_own() -> None:
    assert set(wire._TYPES.values()) == set(CLASSES)
    assert len(set(wire._TYPES.values())) == len(wire._TYPES)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_round_trip(cls: type) -> None:
    @settings(max_examples=30)
    @given(instances(cls))
    def check(message: Message) -> None:
        found = Decoder().feed(encode(message))
        assert found == [message]
        assert type(found[0]) is cls

    check()


@given(st.lists(ANY_MESSAGE, max_size=5), st.data())
def test_any_cutting_of_the_stream_gives_the_same_messages(
    sent: list[Message], data: st.DataObject
) -> None:
    stream = b"".join(encode(message) for message in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder = Decoder()
    found: list[Message] = []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += decoder.feed(stream[start:stop])
    assert found == sent
    assert decoder.waiting == 0


def test_byte_by_byte() -> None:
    entry = make_entry(1, 1, DATA, 5, GENESIS_CHAIN, b"payload").encoded
    sent = [
        Append(1, b"i" * 16, b"r" * 16, 1000, 1, (0, 0), GENESIS_CHAIN, 0, [entry, entry]),
        Appended(1, b"r" * 16, 1, 2),
    ]
    decoder = Decoder()
    found: list[Message] = []
    for byte in b"".join(encode(message) for message in sent):
        found += decoder.feed(bytes([byte]))
    assert found == sent


HOT = st.one_of([instances(cls) for cls in (Append, Appended, Records, Renew)])


@given(HOT)
def test_the_bytes_by_hand_are_the_general_ones(message: Message) -> None:
    number = next(number for number, cls in wire._TYPES.items() if cls is type(message))
    write, read = wire._generic(number, type(message))
    body = write(message)
    assert encode(message)[8:] == body
    assert read(body, 1, len(body)) == message


@given(st.binary(max_size=300))
def test_noise_is_refused_or_waited_on(data: bytes) -> None:
    decoder = Decoder(max_frame_bytes=1000)
    try:
        decoder.feed(data)
    except WireError:
        with pytest.raises(WireError):
            decoder.feed(b"")


@given(st.sampled_from(sorted(wire._TYPES)), st.binary(max_size=200))
@example(11, b"\xff" * 200)
@example(45, b"\x00" * 8 + b"\xff\xff\xff\xff" + b"\x00" * 20)
def test_a_valid_checksum_over_noise_is_refused_or_is_a_message(number: int, rest: bytes) -> None:
    try:
        found = Decoder().feed(frame(bytes([number]) + rest))
    except WireError:
        return
    assert encode(found[0]) == frame(bytes([number]) + rest)


@given(ANY_MESSAGE, st.data())
def test_a_cut_body_is_refused(message: Message, data: st.DataObject) -> None:
    body = encode(message)[8:]
    cut = data.draw(st.integers(1, len(body)))
    if cut < len(body):
        with pytest.raises(WireError):
            Decoder().feed(frame(body[:cut]))
    with pytest.raises(WireError):
        Decoder().feed(frame(body + b"\0"))


@given(ANY_MESSAGE, st.data())
def test_a_flipped_bit_never_gives_another_message(message: Message, data: st.DataObject) -> None:
    good = encode(message)
    at = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[at] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(WireError):
        assert Decoder().feed(bytes(bad)) == []


def test_a_length_is_judged_before_its_bytes_arrive() -> None:
    decoder = Decoder(max_frame_bytes=100)
    assert decoder.feed(struct.pack(">II", 100, 0)) == []
    with pytest.raises(WireError, match="the limit is 100"):
        Decoder(max_frame_bytes=100).feed(struct.pack(">II", 101, 0))


def test_announced_sizes_take_no_memory() -> None:
    hostile = [
        struct.pack(">II", 32 << 20, 0),
        frame(struct.pack(">BQI", 45, 0, 0xFFFFFFFF)),
        frame(struct.pack(">BQI", 45, 0, 1) + struct.pack(">I", 0xFFFFFFF0)),
        frame(struct.pack(">BQ", 42, 1)[:-1]),
    ]
    tracemalloc.start()
    for data in hostile:
        try:
            Decoder().feed(data)
        except WireError:
            continue
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_unknown_type_empty_frame_and_wrong_checksum() -> None:
    with pytest.raises(WireError, match="type 255"):
        Decoder().feed(frame(b"\xff"))
    with pytest.raises(WireError, match="without a message"):
        Decoder().feed(frame(b""))
    with pytest.raises(WireError, match="checksum"):
        Decoder().feed(struct.pack(">II", 9, 1) + b"\x2a" + bytes(8))


def test_a_large_message_in_small_pieces_is_gathered_once() -> None:
    message = Records(7, [bytes(4 << 20)])
    stream = encode(message)
    decoder = Decoder()
    found: list[Message] = []
    for at in range(0, len(stream), 65536):
        assert found == []
        found += decoder.feed(stream[at : at + 65536])
    assert found == [message]
    assert decoder.feed(encode(TailQuery(3))) == [TailQuery(3)]
