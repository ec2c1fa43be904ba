"""The membership that a log node uses, and how it learns of a newer one (S8).

Decides: whether a membership may follow the node's present one; which nodes it asks for news, and
how often.
Must not know: logs, connections, how the membership is kept (`identity`) and made known (`node`).
Invariants: a node's membership version never goes down; on one node, a version has one list of
members; a change replaces one member.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from typing import Final

from txlog import handshake
from txlog.address import AddressError, parse_host_port
from txlog.messages import Hello, Membership, Reject
from txlog.server.identity import Identity
from txlog.tool_connection import AdminError, ToolConnection

_NODE_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")  # it is written in every log's meta
_ASK_EVERY_S: Final = 5.0
_PAUSE_S: Final = 0.05  # minimum time between two rounds, whatever versions appear


def is_member(text: str) -> bool:
    """Whether the text has the form "node-id=host:port"."""
    node, _, address = text.partition("=")
    try:
        parse_host_port(address)
    except AddressError:
        return False
    return _NODE_ID.fullmatch(node) is not None


def node_ids(members: list[str]) -> set[str]:
    return {member.partition("=")[0] for member in members}


def current(identity: Identity) -> Membership:
    return Membership(identity.group_id, identity.membership, identity.members)


def superseded(identity: Identity, reason: str) -> Reject:
    return Reject(f"{handshake.MEMBERSHIP}: {reason}", identity.membership, identity.members)


def check_version(identity: Identity, hello: Hello) -> Reject | None:
    """Whether the memberships allow that this caller is served. A node with an older version than
    the caller's must get the newer one first.
    """
    if 0 < hello.membership < identity.membership:
        return superseded(
            identity, f"version {hello.membership} is over, the group is at {identity.membership}"
        )
    if hello.membership > identity.membership:
        return Reject(
            f"{handshake.MEMBERSHIP}: this log node has version {identity.membership} and asks "
            f"for version {hello.membership}"
        )
    if hello.log and identity.replaced:
        return superseded(
            identity,
            f"this log node was replaced in version {identity.membership}; what it holds is of no "
            "use to the group any more",
        )
    return None


def refusal_of(identity: Identity, wanted: Membership, from_member: bool) -> str:
    """The reason why ``wanted`` is refused, "" when it is accepted or already here.

    ``from_member``: another node uses it already. So it may be more than one version ahead, and it
    may leave this node out.
    """
    if not identity.group or wanted.group != identity.group_id:
        return (
            f"{handshake.GROUP}: this log node belongs to "
            f"{'another group' if identity.group else 'no group'}"
        )
    if wanted.version == identity.membership and wanted.members == identity.members:
        return ""
    if wanted.version <= identity.membership:
        return (
            f"{handshake.MEMBERSHIP}: this log node has version {identity.membership} already: "
            f"{', '.join(identity.members)}"
        )
    ids, mine = node_ids(wanted.members), node_ids(identity.members)
    if (
        len(ids) != len(wanted.members)
        or len(ids) != len(mine)
        or not all(map(is_member, wanted.members))
    ):
        return f"{handshake.PROTOCOL}: a membership is as many distinct NODE=HOST:PORT as before"
    if from_member:
        return ""
    if wanted.version == identity.membership + 1 and len(ids - mine) != 1:
        return (
            f"{handshake.MEMBERSHIP}: version {wanted.version} would replace {len(ids - mine)} "
            f"nodes of version {identity.membership}; one at a time"
        )
    if identity.node not in ids:
        return f"{handshake.MEMBERSHIP}: this log node would be left out: it is not lost"
    return ""


class MembershipGossip:
    """Asks the other members for their membership.

    It asks every few seconds from the start, because a node that was left out gets no notice. It
    asks at once when another party shows a higher version.
    """

    def __init__(
        self,
        identity: Callable[[], Identity],
        take: Callable[[Membership], None],
        secret: bytes | None,
    ) -> None:
        self._identity = identity
        self._take = take
        self._secret = secret
        self._now = asyncio.Event()
        self._asking: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(
                self._ask_all(), name="news of the membership"
            )

    def on_membership_version(self, version: int) -> None:
        if version > self._identity().membership:
            self._now.set()

    def stop(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    async def _ask_all(self) -> None:
        while not self._identity().replaced:
            self._now.clear()
            for address in sorted(self._identity().others.values()):
                await self._ask(address)
            await asyncio.sleep(_PAUSE_S)
            with contextlib.suppress(TimeoutError):  # no news: time to ask again
                await asyncio.wait_for(self._now.wait(), _ASK_EVERY_S)

    async def _ask(self, address: str) -> None:
        tool = ToolConnection(parse_host_port(address), self._secret)
        try:
            welcome = await tool.open()
        except (OSError, TimeoutError, AdminError):
            return  # asked again later
        finally:
            tool.close()
        identity = self._identity()
        if (
            welcome.group == identity.group_id
            and welcome.membership > identity.membership
            and welcome.node in node_ids(welcome.members)
        ):
            self._take(Membership(welcome.group, welcome.membership, welcome.members))
