"""The replies of a node that cannot run a command in its present state.

Decides: the texts of refusals and of unknown outcomes.
Must not know: when they apply (`shard` does).
"""

from __future__ import annotations

from typing import Final

from memstore.engine import reply
from memstore.engine.command import LOCAL, WRITE, Row
from memstore.engine.engine import Engine
from memstore.engine.facts import Facts
from memstore.engine.keyspace import slot_of
from memstore.engine.limits import argument_bytes, transaction_bytes
from memstore.engine.session import EVENTUAL, Session
from memstore.engine.transaction import IMMEDIATE, writes

MASTERDOWN: Final = b"-MASTERDOWN no primary holds the lease\r\n"
CLUSTERDOWN: Final = b"-CLUSTERDOWN no primary holds the lease\r\n"
CROSSSLOT: Final = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n"
DEMOTED_READ: Final = b"-TRYAGAIN demoted before the read could be confirmed\r\n"
NOT_APPLIED: Final = b"-TRYAGAIN this replica did not reach the log's tail in time\r\n"
UNBLOCKED: Final = (
    b"-UNBLOCKED force unblock from blocking operation, instance state changed (master -> "
    b"replica?)\r\n"
)
# the text that Redis sends to a client in MONITOR
MONITORING: Final = b"-ERR Replica can't interact with the keyspace\r\n"
TOO_LARGE: Final = b"-ERR the command is larger than max-uncommitted-bytes allows\r\n"
TRANSACTION_TOO_LARGE: Final = (
    b"-ERR the transaction is larger than max-uncommitted-bytes allows\r\n"
)


def unknown_outcome(position: int) -> bytes:
    return b"-UNKNOWN outcome at position %d: the write may or may not take effect\r\n" % position


def too_large(session: Session, row: Row, argv: list[bytes], limit: int) -> bytes | None:
    """The error for a write, or a transaction of writes, that is too large for the log; None: it
    may run.
    """
    if row.flags & WRITE:
        return TOO_LARGE if argument_bytes(argv) > limit else None
    # The queue never takes less memory than it takes in the log, and its size in memory is known
    # already.
    if (
        row.name == b"EXEC"
        and session.multi_bytes > limit
        and not session.multi_failed
        and transaction_bytes(session) > limit
    ):
        return TRANSACTION_TOO_LARGE
    return None


def loading(facts: Facts) -> bytes:
    trouble = f"; {facts.digest_trouble}" if facts.digest_trouble else ""
    return reply.error(
        f"LOADING memstore is restoring: {facts.applied} of {facts.restore_target} entries{trouble}"
    )


def no_majority(timeout_ms: int) -> bytes:
    return reply.error(f"TRYAGAIN no majority of log nodes answered within {timeout_ms} ms")


def read_only(facts: Facts) -> bytes:
    """The error for a write at a node that is not the primary."""
    if not facts.primary_port:
        return MASTERDOWN
    return reply.error(
        "READONLY You can't write against a read only replica. "
        f"primary={facts.primary_host}:{facts.primary_port}"
    )


def moved(facts: Facts, key: bytes) -> bytes:
    """Cluster mode: the redirect to the node that serves the key's slot."""
    if not facts.primary_port:
        return CLUSTERDOWN
    return reply.error(f"MOVED {slot_of(key)} {facts.primary_host}:{facts.primary_port}")


def needs_freshness(session: Session, row: Row) -> bool:
    """Whether the command reads data; called at a node that is not the primary."""
    if row.flags & LOCAL or session.reads == EVENTUAL:
        return False
    if row.name == b"EXEC":
        return not session.multi_failed and not session.watch_failed
    return row.name not in IMMEDIATE


def fail_pending_replies(session: Session, last_position: int) -> tuple[Session, bytes, bool]:
    """What a demotion sends the session instead of its pending replies; True: close after it."""
    parts = [DEMOTED_READ] * len(session.out)  # answered, but not sent yet
    closing = False
    for position, _, reads, wrote in session.held:
        parts += [DEMOTED_READ] * reads
        if wrote:
            parts.append(unknown_outcome(min(position, last_position)))
            closing = True
            break
    session.held.clear()
    session.out = []
    return session, b"".join(parts), closing


def is_paused(engine: Engine, session: Session, row: Row) -> bool:
    """Whether CLIENT PAUSE makes the command wait."""
    return not row.flags & LOCAL and engine.paused(
        bool(row.flags & WRITE) or (row.name == b"EXEC" and writes(session))
    )


def cluster(
    facts: Facts, session: Session, row: Row, argv: list[bytes], primary: bool
) -> bytes | None:
    """Cluster mode: the error for keys of several slots, or for a slot that another node serves;
    None: the command may run here.
    """
    keys = row.keys(argv)
    if row.name == b"EXEC" and session.multi:
        keys = [
            key
            for queued, args in session.multi
            if isinstance(queued, Row)
            for key in queued.keys(args)
        ]
    if not keys:
        return None
    slot = slot_of(keys[0])
    if any(slot_of(key) != slot for key in keys[1:]):
        return CROSSSLOT
    if primary or (session.readonly and not row.flags & WRITE):
        return None
    return moved(facts, keys[0])
