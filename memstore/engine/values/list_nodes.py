"""The parts of a long list: packed nodes between two open ends.

Decides: how a long list's elements are stored and found.
Must not know: keys, replies, effects, when a list is long (`quicklist`).

The nodes form two arms, which meet at the origin, a place inside the list. An arm grows and shrinks
only at its outer end. That end is a Python list of a few elements (``open``), where a push or a pop
is one list operation. Inside of it are nodes of up to NODE_ITEMS elements, the outermost last.

Elements that no longer fit the open end are packed and join the outermost node. A pop that finds
the open end empty unpacks that node. An arm without elements takes half of the other arm's nodes.
Both arms grow outward, so cumulative counts from the origin stay true under pushes and pops at both
ends. They are updated only when a command needs a place in the middle; a bisection then finds its
node.

A node is a blob (see `packed`) or, if elements are large on average, a plain list of them. A blob
of numbers is narrowed (see `nibble_packing`) when another node comes outside of it, and after a
change inside the list. Nodes are never changed, only replaced, so that copies share them. The
borders of nodes are not part of a list's value: nothing depends on how a list was built.

Invariants: a node's count is the number of its elements and not zero; a node that has another one
outside of it is as narrow as it can be; ``ends`` is correct for the nodes it covers, and never
covers more than ``nodes``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from sys import getsizeof
from typing import Final

from memstore.engine.values import nibble_packing
from memstore.engine.values.deferred_free import LARGE, hand_over
from memstore.engine.values.nibble_packing import NARROW, narrow, wide
from memstore.engine.values.packed import pack, unpack

NODE_ITEMS: Final = 128
OPEN_ITEMS: Final = 32  # an open end of more elements is packed except for KEPT_ITEMS
KEPT_ITEMS: Final = 16
LARGE_MEAN: Final = 128  # bytes; elements larger than this on average are not packed
_NEAR: Final = 8  # nodes checked one by one from the outer end before the index is used
_FEW: Final = 8  # nodes of an arm repaired one by one after a removal
_CRLF: Final = b"\r\n"
_OBJECT: Final = 33  # bytes of a bytes object in addition to its content
_NUMBER: Final = 32  # bytes of a number

Node = bytes | list[bytes]  # bytes may be narrow


# ----------------------------------------------------------------- elements and nodes


def encode(items: Sequence[bytes]) -> bytes:
    """As `pack`; takes a tenth of the time if all elements have equal length."""
    if not items:
        return b""
    length = len(items[0])
    if list(map(len, items)).count(length) == len(items):
        head = b"$%d\r\n" % length
        return b"%b%b\r\n" % (head, (_CRLF + head).join(items))
    return pack(items)


def make_node(items: list[bytes]) -> Node:
    if sum(map(len, items)) > LARGE_MEAN * len(items):
        return items
    return encode(items)


def items_of(node: Node, count: int) -> list[bytes]:
    """Return the elements in a list that may be the node itself: the caller must not change it."""
    return unpack(wide(node), count) if isinstance(node, bytes) else node


def closed(node: Node) -> Node:
    """Return the form of a node to keep when changes are unlikely."""
    return narrow(node) if isinstance(node, bytes) else node


def _joined(one: Node, two: Node) -> Node:
    """Both must be of one type."""
    if isinstance(one, bytes) and isinstance(two, bytes):
        return wide(one) + wide(two)
    return one + two  # type: ignore[operator]  # the type checker cannot know that they are lists


def _stride(blob: bytes, count: int) -> int:
    """Return the bytes of one element if all of a blob's have equal length, else 0.
    If every step meets the same head, every element ends where the next starts.
    """
    step, rest = divmod(len(blob), count)
    if rest:
        return 0
    for at in range(blob.index(b"\n") + 1):
        if blob[at::step] != blob[at : at + 1] * count:
            return 0
    return step


def _packed_size(items: list[bytes]) -> int:
    return sum(
        [
            length + (6 if length < 10 else 7 if length < 100 else len(b"%d" % length) + 5)
            for length in map(len, items)
        ]
    )


def element(node: Node, count: int, at: int) -> bytes:
    if isinstance(node, bytes):
        node = wide(node)
        step = _stride(node, count)
        if step:
            return node[at * step + node.index(b"\n") + 1 : (at + 1) * step - 2]
        return unpack(node, count)[at]
    return node[at]


def encoded_part(node: Node, count: int, start: int, stop: int) -> bytes:
    """Return elements ``start`` to ``stop`` of a node, encoded."""
    if isinstance(node, bytes):
        node = wide(node)
        if stop - start == count:
            return node
        step = _stride(node, count)
        if step:
            return node[start * step : stop * step]
        items = unpack(node, count)
        if stop - start <= count // 2:
            return encode(items[start:stop])
        return node[_packed_size(items[:start]) : len(node) - _packed_size(items[stop:])]
    return encode(node[start:stop])


class Sought:
    """An element to search for."""

    __slots__ = ("encoded", "trace", "value")

    def __init__(self, value: bytes) -> None:
        self.value = value
        self.encoded = encode([value])
        self.trace = nibble_packing.trace(self.encoded)

    def may_be_in(self, node: Node) -> bool:
        """Return False if the element is not in the node.
        True is no proof: another element of a blob may contain its encoding.
        """
        if not isinstance(node, bytes):
            return self.value in node
        if node[0] >= NARROW:
            return self.trace is not None and nibble_packing.may_hold(node, self.trace)
        return self.encoded in node


def without(items: list[bytes], value: bytes, most: int, backward: bool) -> list[bytes]:
    """Return ``items`` without up to ``most`` occurrences of ``value``."""
    if items.count(value) <= most:
        return [item for item in items if item != value]
    left = items[::-1] if backward else items[:]
    for _ in range(most):
        left.remove(value)
    return left[::-1] if backward else left


# ----------------------------------------------------------------- an arm


class Arm:
    """One half of the nodes, from the origin outward.
    ``mirrored``: outward is toward the list's first element.
    """

    __slots__ = ("counts", "ends", "mirrored", "nodes", "open", "total")

    def __init__(self, mirrored: bool) -> None:
        self.mirrored = mirrored
        self.open: list[bytes] = []  # the outermost element last
        self.nodes: list[Node] = []  # the outermost node last; each in the list's order
        self.counts: list[int] = []
        # elements from the origin to the end of each node: a prefix of what `nodes` would give
        self.ends: list[int] = []
        self.total = 0  # elements in nodes

    def copy(self) -> Arm:
        new = Arm(self.mirrored)
        new.open = self.open[:]
        new.nodes = self.nodes[:]
        new.counts = self.counts[:]
        new.total = self.total
        return new

    def spill(self) -> None:
        """Pack the open end except for its outermost elements."""
        items = self.open[:-KEPT_ITEMS]
        self.open = self.open[len(items) :]
        for at in range(0, len(items), NODE_ITEMS):
            piece = items[at : at + NODE_ITEMS]
            if self.mirrored:
                piece.reverse()
            self.add(make_node(piece), len(piece))

    def add(self, node: Node, count: int) -> None:
        """Add a node inside the open end; it joins its neighbour if there is room."""
        nodes, counts = self.nodes, self.counts
        self.total += count
        if nodes and counts[-1] + count <= NODE_ITEMS and type(nodes[-1]) is type(node):
            nodes[-1] = _joined(node, nodes[-1]) if self.mirrored else _joined(nodes[-1], node)
            counts[-1] += count
            del self.ends[len(nodes) - 1 :]
        else:
            if nodes:
                nodes[-1] = closed(nodes[-1])
            nodes.append(node)
            counts.append(count)

    def unpack_outermost(self) -> None:
        """Turn the outermost node into the open end, which must be empty."""
        node, count = self.nodes.pop(), self.counts.pop()
        self.total -= count
        del self.ends[len(self.nodes) :]
        items = unpack(wide(node), count) if isinstance(node, bytes) else node[:]
        if self.mirrored:
            items.reverse()
        self.open = items

    def take_half(self, other: Arm) -> None:
        """Take the inner half of the other arm's elements; this arm has none."""
        if other.nodes:
            half = (len(other.nodes) + 1) // 2
            self.nodes.extend(reversed(other.nodes[:half]))
            self.counts = other.counts[half - 1 :: -1]
            self.total = sum(self.counts)
            del other.nodes[:half], other.counts[:half], other.ends[:]
            other.total -= self.total
        else:
            half = (len(other.open) + 1) // 2
            self.open = other.open[half - 1 :: -1]
            del other.open[:half]

    def drop_nodes(self, count: int) -> int:
        """Drop whole nodes from the outer end, as many as ``count`` elements cover.
        Returns how many of these elements are still to drop.
        """
        counts = self.counts
        keep = len(counts)
        while keep and counts[keep - 1] <= count:
            keep -= 1
            count -= counts[keep]
            self.total -= counts[keep]
        dropped = self.nodes[keep:]
        del self.nodes[keep:], counts[keep:], self.ends[keep:]
        if len(dropped) >= LARGE:
            hand_over(dropped)
        return count

    def find(self, distance: int) -> tuple[int, int]:
        """Return a node and a place in it, for the element with ``distance`` elements of nodes
        outside.
        """
        counts = self.counts
        last = len(counts) - 1
        left = distance
        for at in range(last, max(last - _NEAR, -1), -1):
            count = counts[at]
            if left < count:
                return at, left if self.mirrored else count - 1 - left
            left -= count
        ends = self.ends
        if len(ends) < len(counts):
            missing = accumulate(counts[len(ends) :], initial=ends[-1] if ends else 0)
            next(missing)  # its first step
            ends.extend(missing)
        inside = self.total - 1 - distance
        at = bisect_right(ends, inside)
        outside = ends[at] - 1 - inside
        return at, outside if self.mirrored else counts[at] - 1 - outside

    def encoded(self, start: int, stop: int, parts: list[bytes]) -> None:
        """Append the elements of nodes at distances ``start`` to ``stop`` from the outer end.
        They are in the list's order.
        """
        step = -1 if self.mirrored else 1
        at, place = self.find(start if self.mirrored else stop - 1)
        nodes, counts = self.nodes, self.counts
        wanted = stop - start
        while wanted > 0:
            node, count = nodes[at], counts[at]
            if not place and wanted >= count and isinstance(node, bytes):
                parts.append(wide(node) if node[0] >= NARROW else node)
                wanted -= count
            else:
                taken = min(count - place, wanted)
                parts.append(encoded_part(node, count, place, place + taken))
                wanted -= taken
                place = 0
            at += step

    def replace(self, at: int, items: list[bytes]) -> None:
        """Put other elements in the place of a node: they may need more than one node, or none."""
        self.total += len(items) - self.counts[at]
        if len(items) <= NODE_ITEMS:
            pieces = [items] if items else []
        else:
            half = len(items) // 2
            pieces = [items[half:], items[:half]] if self.mirrored else [items[:half], items[half:]]
        self.nodes[at : at + 1] = [closed(make_node(piece)) for piece in pieces]
        self.counts[at : at + 1] = [len(piece) for piece in pieces]
        del self.ends[at:]

    def mend(self, changed: dict[int, list[bytes]]) -> None:
        """Put fewer elements in the place of some nodes; small neighbours are joined."""
        if len(changed) <= _FEW:
            for at in sorted(changed, reverse=True):
                self.replace(at, changed[at])
            for at in sorted(changed, reverse=True):
                self._join(at)
            return
        for at, items in changed.items():
            self.nodes[at], self.counts[at] = make_node(items), len(items)
        old = list(zip(self.nodes, self.counts, strict=True))
        del self.nodes[:], self.counts[:], self.ends[:]
        self.total = 0
        for node, count in old:
            if count:
                self.add(node, count)

    def _join(self, at: int) -> None:
        """Join node ``at`` and the one inside of it, if the elements fit into one node."""
        nodes, counts = self.nodes, self.counts
        if (
            0 < at < len(nodes)
            and counts[at - 1] + counts[at] <= NODE_ITEMS
            and type(nodes[at - 1]) is type(nodes[at])
        ):
            inner, outer = nodes[at - 1], nodes[at]
            nodes[at - 1 : at + 1] = [
                closed(_joined(outer, inner) if self.mirrored else _joined(inner, outer))
            ]
            counts[at - 1 : at + 1] = [counts[at - 1] + counts[at]]
            del self.ends[at - 1 :]

    def size(self) -> int:
        total = (
            getsizeof(self)
            + getsizeof(self.open)
            + getsizeof(self.nodes)
            + getsizeof(self.counts)
            + getsizeof(self.ends)
            + _NUMBER * len(self.ends)
        )
        total += sum(map(len, self.open)) + _OBJECT * len(self.open)
        for node in self.nodes:
            total += getsizeof(node)
            if isinstance(node, list):
                total += sum(map(len, node)) + _OBJECT * len(node)
        return total


# ----------------------------------------------------------------- all nodes of a list

Place = tuple[Arm, int, int]  # arm; node, or -1 for the open end; index in the node, or in ``open``


class ListNodes:
    """A long list."""

    __slots__ = ("left", "right")

    def __init__(self) -> None:
        self.left = Arm(True)
        self.right = Arm(False)

    def __del__(self) -> None:
        for nodes in (self.left.nodes, self.right.nodes):
            if len(nodes) >= LARGE:
                hand_over(nodes)

    def __len__(self) -> int:
        left, right = self.left, self.right
        return len(left.open) + left.total + right.total + len(right.open)

    def __bool__(self) -> bool:  # compiled code uses only this
        return len(self) > 0

    def copy(self) -> ListNodes:
        new = ListNodes()
        new.left, new.right = self.left.copy(), self.right.copy()
        return new

    def push(self, arm: Arm, items: Sequence[bytes]) -> None:
        arm.open += items
        if len(arm.open) > OPEN_ITEMS:
            arm.spill()

    def supply(self, arm: Arm, other: Arm) -> list[bytes]:
        """Return the open end of an arm, with elements in it. The list must have some."""
        if not arm.open:
            if not arm.nodes:
                arm.take_half(other)
            if not arm.open:
                arm.unpack_outermost()
        return arm.open

    def drop(self, arm: Arm, other: Arm, count: int) -> None:
        """Remove ``count`` elements from one end; the list must have at least this many."""
        while count:
            count = arm.drop_nodes(count) if not arm.open else count
            if count:
                room = self.supply(arm, other)
                gone = min(count, len(room))
                del room[len(room) - gone :]
                count -= gone

    def locate(self, index: int) -> Place:
        """``index`` must be in the list."""
        arm = self.left
        length = len(arm.open)
        if index < length:
            return arm, -1, length - 1 - index
        index -= length
        if index < arm.total:
            return arm, *arm.find(index)
        index -= arm.total
        arm = self.right
        if index < arm.total:
            return arm, *arm.find(arm.total - 1 - index)
        return arm, -1, index - arm.total

    def encoded(self, start: int, stop: int) -> bytes:
        left, right = self.left, self.right
        parts: list[bytes] = []
        length = len(left.open)
        if start < length:
            parts.append(encode(left.open[max(length - stop, 0) : length - start][::-1]))
        start, stop = max(start - length, 0), stop - length
        if start < stop and start < left.total:
            left.encoded(start, min(stop, left.total), parts)
        start, stop = max(start - left.total, 0), stop - left.total
        if start < stop and start < right.total:
            right.encoded(right.total - min(stop, right.total), right.total - start, parts)
        start, stop = max(start - right.total, 0), stop - right.total
        if start < stop:
            parts.append(encode(right.open[start:stop]))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def pieces(self, backward: bool) -> Iterator[tuple[Arm, int, Node, int]]:
        """Yield every open end (node -1) and node with its elements in list order, and a count."""
        left, right = self.left, self.right
        arms = (right, left) if backward else (left, right)
        for arm in arms:
            inward = arm is arms[0]
            if inward:
                yield arm, -1, arm.open[::-1] if arm.mirrored else arm.open[:], len(arm.open)
            last = len(arm.nodes)
            for at in range(last - 1, -1, -1) if inward else range(last):
                yield arm, at, arm.nodes[at], arm.counts[at]
            if not inward:
                yield arm, -1, arm.open[::-1] if arm.mirrored else arm.open[:], len(arm.open)

    def replace(self, arm: Arm, at: int, items: list[bytes]) -> None:
        """Put other elements, in the list's order, in the place of an open end (-1) or a node."""
        if at >= 0:
            arm.replace(at, items)
        else:
            arm.open = items[::-1] if arm.mirrored else items

    def insert(self, pivot: bytes, value: bytes, after: bool) -> bool:
        sought = Sought(pivot)
        for arm, at, node, count in self.pieces(False):
            if sought.may_be_in(node):
                items = items_of(node, count)[:]
                if pivot in items:  # the blob may have the encoding inside an element
                    items.insert(items.index(pivot) + after, value)
                    self.replace(arm, at, items)
                    return True
        return False

    def remove(self, value: bytes, most: int, backward: bool) -> int:
        sought = Sought(value)
        removed = 0
        changed: dict[Arm, dict[int, list[bytes]]] = {}
        for arm, at, node, count in self.pieces(backward):
            if sought.may_be_in(node):
                items = without(items_of(node, count), value, most - removed, backward)
                if len(items) != count:
                    removed += count - len(items)
                    if at < 0:
                        self.replace(arm, -1, items)
                    else:
                        changed.setdefault(arm, {})[at] = items
                    if removed == most:
                        break
        for arm, pieces in changed.items():
            arm.mend(pieces)
        return removed

    def size(self) -> int:
        return getsizeof(self) + self.left.size() + self.right.size()
