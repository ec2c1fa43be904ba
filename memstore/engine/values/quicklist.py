"""Lists: one packed blob while short, packed nodes when long.

Decides: when a list is long, how a short one works.
Must not know: keys, replies, effects, how the nodes are kept (`list_nodes`).

A short list takes little more than its bytes. A push, a pop or a reply with the whole list is one
copy of at most a kilobyte. Every other operation unpacks the list. A long list keeps its nodes
until it is deleted: a queue grows and shrinks, and its key goes with its last element.

Invariant: either there are nodes, or ``blob`` holds ``count`` elements in at most SMALL_BYTES.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from sys import getsizeof
from typing import ClassVar, Final

from memstore.engine.reply import HEADS
from memstore.engine.values.codec import DumpReader, dump_strings
from memstore.engine.values.list_nodes import (
    OPEN_ITEMS,
    ListNodes,
    Node,
    Sought,
    closed,
    element,
    encode,
    encoded_part,
    items_of,
    make_node,
    without,
)
from memstore.engine.values.packed import unpack

SMALL_BYTES: Final = 1024  # a list of up to this size is one blob
# bytes of an element in addition to its own, at most, if it is no longer than that
_HEAD: Final = 9
_CRLF: Final = b"\r\n"
_DIGEST_STEP: Final = 32  # elements


class List:
    """A list of byte strings. Indexes are not negative unless a method allows it."""

    __slots__ = ("blob", "count", "nodes")

    type_name: ClassVar[bytes] = b"list"
    code: ClassVar[int] = 3

    def __init__(self) -> None:
        self.blob = b""
        self.count = 0  # elements in the blob
        self.nodes: ListNodes | None = None  # in place of the blob, permanently

    def __len__(self) -> int:
        nodes = self.nodes
        return self.count if nodes is None else len(nodes)

    def __bool__(self) -> bool:
        nodes = self.nodes
        return (
            self.count > 0
            if nodes is None
            else bool(nodes.left.open or nodes.right.open or nodes.left.nodes or nodes.right.nodes)
        )

    def _grow(self) -> ListNodes:
        """Turn the blob into nodes."""
        nodes = self.nodes = ListNodes()
        if self.count:
            nodes.right.add(self.blob, self.count)
        self.blob, self.count = b"", 0
        return nodes

    def _set(self, items: list[bytes]) -> None:
        """Replace all elements of a short list."""
        blob = encode(items)
        self.blob, self.count = blob, len(items)
        if len(blob) > SMALL_BYTES:
            self.blob, self.count = b"", 0
            self.push(items, False)

    # ----------------------------------------------------------------- ends

    def push_left(self, item: bytes) -> int:
        """Return the length afterwards."""
        nodes = self.nodes
        if nodes is None:
            length = len(item)
            if length + len(self.blob) <= SMALL_BYTES - _HEAD:
                self.blob = b"".join((HEADS[length], item, _CRLF, self.blob))
                self.count += 1
                return self.count
            nodes = self._grow()
        left, right = nodes.left, nodes.right
        open_end = left.open
        open_end.append(item)
        if len(open_end) > OPEN_ITEMS:
            left.spill()
        return len(left.open) + left.total + right.total + len(right.open)

    def push_right(self, item: bytes) -> int:
        """Return the length afterwards."""
        nodes = self.nodes
        if nodes is None:
            length = len(item)
            if length + len(self.blob) <= SMALL_BYTES - _HEAD:
                self.blob = b"".join((self.blob, HEADS[length], item, _CRLF))
                self.count += 1
                return self.count
            nodes = self._grow()
        left, right = nodes.left, nodes.right
        open_end = right.open
        open_end.append(item)
        if len(open_end) > OPEN_ITEMS:
            right.spill()
        return len(left.open) + left.total + right.total + len(right.open)

    def push(self, items: Sequence[bytes], left: bool) -> int:
        """Push the items in turn at the same end; return the length afterwards."""
        nodes = self.nodes
        if nodes is None:
            size = sum(map(len, items)) + _HEAD * len(items)
            if size + len(self.blob) <= SMALL_BYTES:
                self.blob = encode(items[::-1]) + self.blob if left else self.blob + encode(items)
                self.count += len(items)
                return self.count
            nodes = self._grow()
        nodes.push(nodes.left if left else nodes.right, items)
        return len(nodes)

    def pop_left(self) -> bytes:
        """There must be an element."""
        nodes = self.nodes
        if nodes is not None:
            open_end = nodes.left.open
            return open_end.pop() if open_end else nodes.supply(nodes.left, nodes.right).pop()
        blob = self.blob
        head = blob.index(b"\n") + 1
        end = head + int(blob[1 : head - 2])
        self.blob = blob[end + 2 :]
        self.count -= 1
        return blob[head:end]

    def pop_right(self) -> bytes:
        """There must be an element."""
        nodes = self.nodes
        if nodes is not None:
            open_end = nodes.right.open
            return open_end.pop() if open_end else nodes.supply(nodes.right, nodes.left).pop()
        blob = self.blob
        self.count -= 1
        # no element contains it: the last element starts at its last occurrence
        if blob.count(b"\r\n$") == self.count:
            start = blob.rfind(b"\r\n$") + 2 if self.count else 0
            self.blob = blob[:start]
            return blob[blob.index(b"\n", start) + 1 : -2]
        item = unpack(blob, self.count + 1)[-1]
        self.blob = blob[: len(blob) - len(encode([item]))]
        return item

    def pop(self, count: int, left: bool) -> list[bytes]:
        """Remove and return up to ``count`` elements, the outermost first."""
        length = len(self)
        count = min(count, length)
        items = self.items(0, count) if left else self.items(length - count, length)[::-1]
        self.trim(count if left else 0, 0 if left else count)
        return items

    def trim(self, left: int, right: int) -> None:
        """Remove ``left`` elements from the head and ``right`` from the tail; the list must have
        them.
        """
        nodes = self.nodes
        if nodes is not None:
            nodes.drop(nodes.left, nodes.right, left)
            nodes.drop(nodes.right, nodes.left, right)
        elif left or right:
            self._set(unpack(self.blob, self.count)[left : self.count - right])

    # ----------------------------------------------------------------- places

    def encoded(self, start: int, stop: int) -> bytes:
        """Return elements ``start`` to ``stop`` as consecutive RESP bulks; ``start < stop <=
        len(self)``.
        """
        nodes = self.nodes
        return (
            encoded_part(self.blob, self.count, start, stop)
            if nodes is None
            else nodes.encoded(start, stop)
        )

    def items(self, start: int = 0, stop: int | None = None) -> list[bytes]:
        """Elements ``start`` to ``stop`` (the end)."""
        stop = len(self) if stop is None else stop
        return unpack(self.encoded(start, stop), stop - start) if start < stop else []

    def get(self, index: int) -> bytes | None:
        """Return None where there is no element. A negative index counts from the end."""
        length = len(self)
        index += length if index < 0 else 0
        if not 0 <= index < length:
            return None
        nodes = self.nodes
        if nodes is None:
            return element(self.blob, self.count, index)
        arm, node, place = nodes.locate(index)
        return arm.open[place] if node < 0 else element(arm.nodes[node], arm.counts[node], place)

    def set(self, index: int, value: bytes) -> bool:
        """Return True if the element exists. A negative index counts from the end."""
        length = len(self)
        index += length if index < 0 else 0
        if not 0 <= index < length:
            return False
        nodes = self.nodes
        if nodes is None:
            items = unpack(self.blob, self.count)
            items[index] = value
            self._set(items)
            return True
        arm, node, place = nodes.locate(index)
        if node < 0:
            arm.open[place] = value
        else:
            items = items_of(arm.nodes[node], arm.counts[node])[:]
            items[place] = value
            arm.nodes[node] = closed(make_node(items))
        return True

    def insert(self, pivot: bytes, value: bytes, after: bool) -> bool:
        """Insert beside the first element that equals ``pivot``; return True if there is one."""
        if self.nodes is not None:
            return self.nodes.insert(pivot, value, after)
        items = unpack(self.blob, self.count)
        if pivot not in items:
            return False
        items.insert(items.index(pivot) + after, value)
        self._set(items)
        return True

    def remove(self, value: bytes, count: int) -> int:
        """Remove the first ``count`` occurrences, the last ``-count``, or all if it is 0.
        Returns how many were removed.
        """
        most = abs(count) or len(self)
        if self.nodes is not None:
            return self.nodes.remove(value, most, count < 0)
        items = unpack(self.blob, self.count)
        left = without(items, value, most, count < 0)
        if len(left) != len(items):
            self._set(left)
        return len(items) - len(left)

    def positions(
        self, value: bytes, skip: int, most: int, within: int, backward: bool
    ) -> list[int]:
        """Return the places of ``value``: up to ``most`` places after the first ``skip``.
        Only the first ``within`` elements from that end count (0: no limit).
        """
        found: list[int] = []
        seen, length = 0, len(self)
        within = min(within or length, length)
        sought = Sought(value)
        for node, count in self._pieces(backward):
            if sought.may_be_in(node):
                items = items_of(node, count)
                for at, item in enumerate(reversed(items) if backward else items, seen):
                    if at >= within:
                        return found
                    if item == value:
                        skip -= 1
                        if skip < 0:
                            found.append(length - 1 - at if backward else at)
                            if len(found) == most:
                                return found
            seen += count
            if seen >= within:
                break
        return found

    def _pieces(self, backward: bool) -> Iterator[tuple[Node, int]]:
        if self.nodes is None:
            yield self.blob, self.count
        else:
            for _, _, node, count in self.nodes.pieces(backward):
                yield node, count

    # ----------------------------------------------------------------- as a kind of value

    def copy(self) -> List:
        new = List()
        new.blob, new.count = self.blob, self.count
        new.nodes = None if self.nodes is None else self.nodes.copy()
        return new

    def size(self) -> int:
        return (
            getsizeof(self)
            + getsizeof(self.blob)
            + (0 if self.nodes is None else self.nodes.size())
        )

    def encoding(self) -> bytes:
        return b"quicklist"

    def weigh(self) -> int:
        return self.size()

    def dump(self) -> bytes:
        return dump_strings(self.items())

    @classmethod
    def load(cls, reader: DumpReader) -> List:
        new = cls()
        new.push(reader.members(), False)
        return new

    # ----------------------------------------------------------------- for digests

    def cut(self, start: int, members: int, size: int) -> tuple[int, int, int]:
        """The borders are indexes."""
        at, total, length = start, 0, len(self)
        while at < length and at - start < members and total < size:
            at, weight = self._weigh_some(at, size - total)
            total += weight
        return (0 if at >= length else at), max(0, at - start), total

    def _weigh_some(self, at: int, size: int) -> tuple[int, int]:
        """Return where some elements from ``at`` on end, and their weight.
        They are a few packed elements, which are small, or as many large ones as reach ``size``.
        """
        stop = min(at + _DIGEST_STEP, len(self))
        nodes = self.nodes
        if nodes is not None:
            arm, place, index = nodes.locate(at)
            if place < 0:
                return at + 1, len(arm.open[index]) + _HEAD
            node = arm.nodes[place]
            if isinstance(node, list):
                total = 0
                for item in node[index:]:
                    at += 1
                    total += len(item) + _HEAD
                    if total >= size:
                        break
                return at, total
            stop = min(stop, at + arm.counts[place] - index)
        return stop, len(self.encoded(at, stop))

    def span(self, start: int, stop: int) -> bytes:
        stop = min(stop or len(self), len(self))
        return self.encoded(start, stop) if start < stop else b""
