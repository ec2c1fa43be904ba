"""Members in the order of (score, member): the ordered half of a large sorted set.

It finds members by score, by member and by rank.

Decides: how the order is stored. Blocks of up to 512 members are two parallel lists, scores and
members, so a member takes two pointers and no object of its own. The last pair of every block is
kept in a list; a bisection of this list finds a block. A Fenwick tree over the blocks' lengths
converts between block and rank in O(log n). It is built when a rank is first needed and dropped
when the number of blocks changes.
Must not know: keys, replies, which member has which score (the caller's table has it).
Invariants: no block is empty; blocks and their contents ascend by (score, member); lasts[i] is the
last pair of block i; the tree, if there is one, has the blocks' lengths.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import chain
from typing import Final

from memstore.engine.values import deferred_free

BLOCK: Final = 512  # most members of a block
_FEW: Final = BLOCK // 4  # a block with fewer is joined with a neighbour


class RankIndex:
    __slots__ = ("_last_members", "_last_scores", "_members", "_scores", "_tree", "count")

    def __init__(self, scores: list[float], members: list[bytes]) -> None:
        """The lists are in order already, and not empty. They belong to the index from now on."""
        count = self.count = len(members)
        assert count and len(scores) == count
        if count <= BLOCK:
            self._scores, self._members = [scores], [members]
        else:
            step = BLOCK * 3 // 4  # room to grow
            self._scores = [scores[at : at + step] for at in range(0, count, step)]
            self._members = [members[at : at + step] for at in range(0, count, step)]
        self._last_scores = [block[-1] for block in self._scores]
        self._last_members = [block[-1] for block in self._members]
        self._tree: list[int] | None = None

    def __del__(self) -> None:
        if len(self._members) >= deferred_free.LARGE:
            deferred_free.hand_over(self._members)
            deferred_free.hand_over(self._scores)

    def copy(self) -> RankIndex:
        return RankIndex(
            list(chain.from_iterable(self._scores)), list(chain.from_iterable(self._members))
        )

    def size(self) -> int:
        """Return the bytes without the members and scores themselves."""
        lists = [
            *self._scores,
            *self._members,
            self._scores,
            self._members,
            self._last_scores,
            self._last_members,
        ]
        tree = self._tree.__sizeof__() if self._tree else 0
        return self.__sizeof__() + tree + sum([block.__sizeof__() for block in lists])

    # ----------------------------------------------------------------- one member

    def _block(self, score: float, member: bytes) -> int:
        """Return the first block whose last pair is not below this one.
        If there is none, it is the number of blocks.
        """
        lasts = self._last_scores
        at = bisect_left(lasts, score)
        if at < len(lasts) and lasts[at] == score:
            at = bisect_left(self._last_members, member, at, bisect_right(lasts, score, at))
        return at

    def _place(self, block: int, score: float, member: bytes) -> int:
        scores = self._scores[block]
        at = bisect_left(scores, score)
        if at < len(scores) and scores[at] == score:
            at = bisect_left(self._members[block], member, at, bisect_right(scores, score, at))
        return at

    def add(self, score: float, member: bytes) -> None:
        """The member must not be there."""
        block = self._block(score, member)
        if block == len(self._members):
            block -= 1
            self._scores[block].append(score)
            self._members[block].append(member)
            self._last_scores[block], self._last_members[block] = score, member
        else:
            at = self._place(block, score, member)
            self._scores[block].insert(at, score)
            self._members[block].insert(at, member)
        self.count += 1
        if len(self._members[block]) > BLOCK:
            self._split(block)
        elif self._tree is not None:
            self._adjust(block, 1)

    def remove(self, score: float, member: bytes) -> bytes:
        """Remove a member that is there with this score and is not the only one.
        Returns the member as it was stored.
        """
        block = self._block(score, member)
        at = self._place(block, score, member)
        kept = self._members[block].pop(at)
        assert kept == member, "a member is not where its score says"
        scores = self._scores[block]
        del scores[at]
        self.count -= 1
        if len(scores) < _FEW and len(self._members) > 1:
            self._join(block)
            return kept
        if at == len(scores):
            self._last_scores[block], self._last_members[block] = (
                scores[-1],
                self._members[block][-1],
            )
        if self._tree is not None:
            self._adjust(block, -1)
        return kept

    def _split(self, block: int) -> None:
        scores, members = self._scores[block], self._members[block]
        half = len(members) // 2
        if block == len(self._members) - 1:
            half = len(members) - _FEW  # members that arrive in ascending order leave full blocks
        self._scores[block : block + 1] = [scores[:half], scores[half:]]
        self._members[block : block + 1] = [members[:half], members[half:]]
        self._last_scores.insert(block, scores[half - 1])
        self._last_members.insert(block, members[half - 1])
        self._tree = None

    def _join(self, block: int) -> None:
        """Join a block that has become small (it may be empty) with a neighbour."""
        left = block - 1 if block else block
        scores, members = (
            self._scores[left] + self._scores[left + 1],
            self._members[left] + self._members[left + 1],
        )
        self._scores[left : left + 2] = [scores]
        self._members[left : left + 2] = [members]
        del self._last_scores[left], self._last_members[left]
        self._last_scores[left], self._last_members[left] = scores[-1], members[-1]
        self._tree = None
        if len(members) > BLOCK:
            self._split(left)

    # ----------------------------------------------------------------- ranks

    def _lengths(self) -> list[int]:
        """Return the Fenwick tree.
        Element i (from 1 on) is the sum of the lengths of the blocks i - (i & -i) ... i - 1.
        """
        tree = [0, *map(len, self._members)]
        size = len(tree)
        for at in range(1, size):
            above = at + (at & -at)
            if above < size:
                tree[above] += tree[at]
        self._tree = tree
        return tree

    def _adjust(self, block: int, by: int) -> None:
        tree = self._tree
        assert tree is not None
        at, size = block + 1, len(tree)
        while at < size:
            tree[at] += by
            at += at & -at

    def _before(self, block: int) -> int:
        """Return how many members are in the blocks before this one."""
        if block < 2:
            return len(self._members[0]) if block else 0
        tree = self._tree if self._tree is not None else self._lengths()
        total = 0
        while block:
            total += tree[block]
            block &= block - 1
        return total

    def _locate(self, rank: int) -> tuple[int, int]:
        """Return the block of the member with this rank, and its place there.
        The rank must be less than the count.
        """
        if rank < len(self._members[0]):
            return 0, rank
        tree = self._tree if self._tree is not None else self._lengths()
        block, size = 0, len(tree)
        bit = 1 << (size - 1).bit_length()
        while bit:
            further = block + bit
            if further < size and tree[further] <= rank:
                block = further
                rank -= tree[further]
            bit >>= 1
        return block, rank

    def rank(self, score: float, member: bytes) -> int:
        block = self._block(score, member)
        return self._before(block) + self._place(block, score, member)

    def below(self, score: float, inclusive: bool) -> int:
        """Return how many members have a score below this one, or up to it."""
        cut = bisect_right if inclusive else bisect_left
        block = cut(self._last_scores, score)
        if block == len(self._members):
            return self.count
        return self._before(block) + cut(self._scores[block], score)

    def before(self, member: bytes, inclusive: bool) -> int:
        """Return how many members are before this one, or up to it, if all scores are equal.
        If scores differ, the number has no meaning.
        """
        cut = bisect_right if inclusive else bisect_left
        block = cut(self._last_members, member)
        if block == len(self._members):
            return self.count
        return self._before(block) + cut(self._members[block], member)

    # ----------------------------------------------------------------- ranges of ranks

    def part(self, start: int, stop: int) -> tuple[list[bytes], list[float]]:
        """Members and scores from rank ``start`` to before ``stop``; 0 <= start < stop <= count."""
        block, at = self._locate(start)
        wanted = stop - start
        members, scores = (
            self._members[block][at : at + wanted],
            self._scores[block][at : at + wanted],
        )
        while len(members) < wanted:
            block += 1
            left = wanted - len(members)
            members += self._members[block][:left]
            scores += self._scores[block][:left]
        return members, scores

    def remove_part(self, start: int, stop: int) -> list[bytes]:
        """Remove and return the members; 0 <= start < stop <= count; at least one must remain."""
        assert stop - start < self.count
        first, at = self._locate(start)
        taken: list[bytes] = []
        wanted = stop - start
        block = first
        while wanted:
            members = self._members[block]
            end = min(at + wanted, len(members))
            wanted -= end - at
            taken += members[at:end]
            del members[at:end], self._scores[block][at:end]
            block, at = block + 1, 0
        self.count -= len(taken)
        left = self._members[first]
        # the path of single pops: the number of blocks does not change
        if block == first + 1 and len(left) >= _FEW:
            self._last_scores[first], self._last_members[first] = self._scores[first][-1], left[-1]
            if self._tree is not None:
                self._adjust(first, -len(taken))
        else:
            self._tree = None
            self._mend(first, block)
        return taken

    def _mend(self, first: int, end: int) -> None:
        """Repair blocks ``first`` to before ``end``, which lost members.
        It drops empty blocks, corrects the last pairs and joins small blocks.
        """
        kept = [block for block in range(first, end) if self._members[block]]
        self._last_scores[first:end] = [self._scores[block][-1] for block in kept]
        self._last_members[first:end] = [self._members[block][-1] for block in kept]
        self._scores[first:end] = [self._scores[block] for block in kept]
        self._members[first:end] = [self._members[block] for block in kept]
        for block in range(min(first + len(kept), len(self._members)) - 1, first - 1, -1):
            if (
                block < len(self._members)
                and len(self._members[block]) < _FEW
                and len(self._members) > 1
            ):
                self._join(block)

    def check(self) -> None:
        """Check the invariants, for tests."""
        pairs = [
            pair
            for scores, members in zip(self._scores, self._members, strict=True)
            for pair in zip(scores, members, strict=True)
        ]
        assert all(self._members) and len(pairs) == self.count and pairs == sorted(set(pairs))
        assert self._last_scores == [
            block[-1] for block in self._scores
        ] and self._last_members == [block[-1] for block in self._members]
        assert all(len(block) <= BLOCK for block in self._members)
        if self._tree is not None:
            tree = self._tree
            assert self._lengths() == tree
