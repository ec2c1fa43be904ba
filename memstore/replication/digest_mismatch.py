"""What a node does when its memory differs from a DIGEST entry of the primary.

Decides: whether to restore again from the log's first entry, to believe the log rather than the
primary, or to stop serving.
Must not know: roles, the log, memory.

One difference does not show which side is wrong, but the log does. The node builds its memory again
from the log. If the same difference appears, the digest is wrong: the primary's memory was damaged,
or the primary did something else than it logged. The log is what was acknowledged, and no other
copy remains once that primary is gone. So the log overrules the digests of that primary. While that
primary leads, this node still does not serve: clients would see two different states.
If memory comes out different each time, it is of no use. After a bounded number of tries this node
does not serve again in this life.
Invariant: for one position memory is built at most `TRIES_MAX` times.
"""

from __future__ import annotations

from typing import Final

from memstore.replication.follower import Difference

RESTORE: Final = "restore"
IGNORE: Final = "ignore"
GIVE_UP: Final = "give up"

TRIES_MAX: Final = 3  # digests that this node computes at one position
POSITIONS_MAX: Final = 256  # remembered; the lowest go first


class DigestMismatches:
    __slots__ = ("_seen", "count", "distrusted", "distrusted_author", "position", "trouble")

    def __init__(self) -> None:
        self.count = 0  # differences found in this life of the process
        self.position = 0  # of the newest difference
        # incarnation of an overruled primary that may still lead; empty: none
        self.distrusted_author = b""
        self.distrusted: set[bytes] = set()  # shared with the followers
        self.trouble = ""  # the present trouble, for people
        self._seen: dict[int, list[bytes]] = {}  # position -> each digest computed here

    def decide(self, difference: Difference) -> str:
        self.count += 1
        position = self.position = difference.position
        seen = self._seen.setdefault(position, [])
        again = difference.mine in seen
        seen.append(difference.mine)
        if len(self._seen) > POSITIONS_MAX:
            del self._seen[min(self._seen)]
        where = (
            f"at position {position} the digest is {difference.mine.hex()} here and "
            f"{difference.theirs.hex()} at the primary"
        )
        if again:
            self.distrusted_author = difference.author
            self.trouble = (
                f"{where}, also after restoring from the log: that primary's memory was not "
                "what the log says, and this node serves when it is gone"
            )
            return IGNORE
        if len(seen) >= TRIES_MAX:
            self.trouble = (
                f"{where}, and was another one each time that the log was followed from its "
                "beginning: this node serves no more"
            )
            return GIVE_UP
        self.trouble = f"{where}: restoring from the log"
        return RESTORE

    def on_author_gone(self) -> None:
        """The overruled primary no longer leads."""
        self.distrusted_author = b""

    def on_serving(self) -> None:
        self.trouble = ""
