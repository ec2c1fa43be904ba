"""Whether a caller may speak with this log node, and about this log.

Decides: which Hello the node refuses, and with which words.
Must not know: connections; the versions of memberships (`membership` checks them).
Invariant: a node without a group makes no log (S7); a node makes no log without an explicit
creation.
"""

from __future__ import annotations

from typing import Final

from txlog import handshake
from txlog.address import valid_log_name
from txlog.messages import Hello, Reject
from txlog.server.identity import Identity

CREATOR: Final = "creator"
CALLED_BY_A_GROUP: Final = (
    f"{handshake.GROUP}: members or clients of another group call this log node, so it may be a "
    "member whose disk was lost: 'txlog status' with the addresses of all log nodes prints the "
    "'txlog replace-node' line. If this node is to begin a new group, stop those callers, "
    "then restart it"
)
_NAMES_SHOWN: Final = 5  # of the logs in a refusal


def check_group(identity: Identity, hello: Hello) -> Reject | None:
    """None: the caller names this node's group, or it names no group."""
    if len(hello.incarnation) != handshake.INCARNATION_BYTES:
        return Reject(
            f"{handshake.PROTOCOL}: an incarnation has {handshake.INCARNATION_BYTES} bytes"
        )
    if hello.log and not identity.group:
        return Reject(f"{handshake.NO_GROUP}: {_why_no_group(hello)}")
    if hello.group and hello.group != identity.group_id:
        return Reject(
            f"{handshake.GROUP}: this log node belongs to "
            f"{'another group' if identity.group else 'no group yet'}"
        )
    return None


def _why_no_group(hello: Hello) -> str:
    if not hello.group:
        return "this log node belongs to no group yet: run txlog init"
    return (
        "this log node has an empty data folder, and the group knows it: if its disk was lost, "
        "'txlog status' with the addresses of all log nodes prints the 'txlog replace-node' line"
    )


def check_log(identity: Identity, hello: Hello, known: set[str], max_logs: int) -> Reject | None:
    """None: the log is here, or the node may make it. ``known``: the logs of this node."""
    if not valid_log_name(hello.log):
        return Reject(f"{handshake.NAME}: {hello.log[:80]!r} is not a log's name")
    if hello.log in identity.deleting:
        return Reject(
            f"{handshake.LOG}: log '{hello.log}' is being deleted: 'txlog delete-log' finishes it"
        )
    if hello.log in known:
        return None
    if hello.purpose != CREATOR:
        return Reject(
            f"{handshake.NO_LOG}: there is no log '{hello.log}' on log node {identity.node}, "
            f"which has {_names(known)}: --create makes a new log"
        )
    if len(known) >= max_logs:
        return Reject(
            f"{handshake.NO_LOG}: there is no log '{hello.log}' on this node, and max-logs is "
            f"{max_logs}"
        )
    return None


def _names(logs: set[str]) -> str:
    names = sorted(logs)
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more if names else "no logs yet"
