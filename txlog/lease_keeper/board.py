"""The memory that a primary's event loop and its lease keeper share.

Decides: where each value is, which side writes it, and when a reader accepts it.
Must not know: what either side does with it. It does no I/O: it is given a buffer, which is
anonymous shared memory in the processes and a bytearray in tests.

All values are unsigned 64-bit words. Each word has one writer.

    word           writer   value
    0              loop     beat: the clock (CLOCK_BOOTTIME, microseconds) when the loop last turned
    1              loop     lease end: until when the writer had its lease at that beat
    2              loop     order: sequence number, odd while the loop writes
    3              loop     order: term, 0: renew nothing
    4, 5           loop     order: ballot id, 16 bytes
    6              loop     order: lease in milliseconds
    7              loop     order: checksum
    8              keeper   to how many log nodes it is connected
    9              keeper   its own beat: the clock when it last read the board
    10             keeper   answers: sequence number, odd while the keeper writes
    11             keeper   answers: term
    12, 13         keeper   answers: ballot id
    14             keeper   answers: how many questions of that term and ballot id have a majority
    15 .. 15+n-1   keeper   answers: for each log node, when the newest Renew that it answered
                            `Renewed` was sent; 0: none
    15+n           keeper   answers: checksum

A word is stored by one machine instruction, so the beats and the lease end need no more. The order
and the answers have several words. Their writer makes the sequence number odd, writes the words and
a CRC-32 of the sequence number and the words, and makes the number even. A reader accepts them if
the number is even, is the same before and after, and the checksum is right. The checksum makes this
hold on machines that reorder stores too. A reader that finds no such state after a few tries gets
None, and None means: renew nothing, count nothing.

The order of the two sides (L2, L4):

- The loop writes the lease end and then an order when a term and ballot id begin. It writes term 0
  at the decision to hand over, at a release, at a stop and when the writer is lost.
- The keeper renews only for the order that it reads at that moment, and only before the lease end
  (the loop's or by its own answers).
- The loop counts answers only if their term and ballot id are still the writer's own at that
  moment. So an answer to a Renew that was under way when the loop withdrew the order does not
  count. The log nodes refuse a Renew of a released or older term.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

ROUND_BYTES: Final = 16
_BEAT: Final = 0
_LEASE_END: Final = 1
_ORDER: Final = 2
_ORDER_WORDS: Final = 4  # words between its sequence number and its checksum
_LINES: Final = 8
_KEEPER_BEAT: Final = 9
_ANSWERS: Final = 10
_ANSWERS_WORDS: Final = 4  # and one more for each node
_TRIES: Final = 8
_ROUND: Final = struct.Struct("=QQ")


@dataclass(frozen=True, slots=True)
class RenewalOrder:
    """What the keeper may renew."""

    term: int
    ballot_id: bytes
    lease_ms: int


@dataclass(frozen=True, slots=True)
class Answers:
    """For each log node, the time when the newest Renew that it answered was sent."""

    term: int
    ballot_id: bytes
    questions: int
    sent_us: tuple[int, ...]


class Board:
    """See the module."""

    def __init__(self, buffer: memoryview, nodes: int) -> None:
        assert len(buffer) >= Board.size(nodes), "the board is larger than its memory"
        self._words = buffer.cast("Q")  # native words: an assignment is one store
        self._nodes = nodes

    @staticmethod
    def size(nodes: int) -> int:
        """The size in bytes."""
        return 8 * (_ANSWERS + 1 + _ANSWERS_WORDS + nodes + 1)

    def close(self) -> None:
        self._words.release()

    # ------------------------------------------------------------ the loop writes, the keeper reads

    def beat(self, now_us: int, lease_until_us: int) -> None:
        self._words[_LEASE_END] = lease_until_us
        self._words[_BEAT] = now_us

    @property
    def beat_us(self) -> int:
        return self._words[_BEAT]

    @property
    def lease_until_us(self) -> int:
        return self._words[_LEASE_END]

    def order(self, order: RenewalOrder | None, lease_until_us: int = 0) -> None:
        """Write what the keeper may renew; None: nothing from now on.

        ``lease_until_us``: the lease end that belongs to the order. It is written first, because
        the keeper may use an order at once, and the loop may stand still before its next beat.
        """
        if order is None:
            self._write(_ORDER, [0, 0, 0, 0])
        else:
            self._words[_LEASE_END] = lease_until_us
            self._write(_ORDER, [order.term, *_ROUND.unpack(order.ballot_id), order.lease_ms])

    def read_order(self) -> RenewalOrder | None:
        words = self._read(_ORDER, _ORDER_WORDS)
        if words is None or words[0] == 0:
            return None
        return RenewalOrder(words[0], _ROUND.pack(words[1], words[2]), words[3])

    # ------------------------------------------------------------ the keeper writes, the loop reads

    def connected(self, lines: int) -> None:
        self._words[_LINES] = lines

    @property
    def lines(self) -> int:
        return self._words[_LINES]

    def keeper_beat(self, now_us: int) -> None:
        self._words[_KEEPER_BEAT] = now_us

    @property
    def keeper_beat_us(self) -> int:
        return self._words[_KEEPER_BEAT]

    def answers(self, answers: Answers) -> None:
        self._write(
            _ANSWERS,
            [answers.term, *_ROUND.unpack(answers.ballot_id), answers.questions, *answers.sent_us],
        )

    def read_answers(self) -> Answers | None:
        words = self._read(_ANSWERS, _ANSWERS_WORDS + self._nodes)
        if words is None or words[0] == 0:
            return None
        return Answers(
            words[0], _ROUND.pack(words[1], words[2]), words[3], tuple(words[_ANSWERS_WORDS:])
        )

    # ------------------------------------------------------------------ several words at once

    def _write(self, at: int, values: list[int]) -> None:
        words = self._words
        # even, and different from the last one, also after a writer that died during a write
        sequence = (words[at] | 1) + 1
        words[at] = sequence - 1
        for offset, value in enumerate(values, at + 1):
            words[offset] = value
        words[at + 1 + len(values)] = _checksum(sequence, values)
        words[at] = sequence

    def _read(self, at: int, count: int) -> list[int] | None:
        words = self._words
        for _ in range(_TRIES):
            sequence = words[at]
            values = list(words[at + 1 : at + 1 + count])
            checksum = words[at + 1 + count]
            if (
                not sequence & 1
                and words[at] == sequence
                and checksum == _checksum(sequence, values)
            ):
                return values
        return None


def _checksum(sequence: int, values: list[int]) -> int:
    # never 0, so memory that was never written does not check
    return zlib.crc32(struct.pack(f"={1 + len(values)}Q", sequence, *values)) + 1
