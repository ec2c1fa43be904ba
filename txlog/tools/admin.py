"""The operator's questions to log nodes: make a group of them (S7), show their state.

Decides: when nodes may become a group, or the rest of one.
Must not know: logs' contents.
Invariant: a node gets a group only under three conditions: every named node has answered, none
belongs to another group, and no node of this group has a log yet. An empty node beside nodes with
logs is a lost disk, not a new node.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import secrets
import shlex
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

from txlog import handshake
from txlog.messages import InitDone, InitGroup, Status, StatusQuery
from txlog.tool_connection import AdminError as AdminError  # for importers that may use tools only
from txlog.tool_connection import HostPort, NotWelcome, ToolConnection

_RETRY_S: Final = 0.2


@contextlib.asynccontextmanager
async def _tools(
    addresses: list[HostPort], secret: bytes | None, wait_s: float, tell: Callable[[str], None]
) -> AsyncIterator[list[ToolConnection]]:
    """Connections to all of them; waits for those that are not up yet."""
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_s
    tools: list[ToolConnection] = []
    try:
        for address in addresses:
            told = False
            while True:
                tool = ToolConnection(address, secret)
                try:
                    await tool.open()
                    break
                except (OSError, TimeoutError, NotWelcome) as error:
                    tool.close()
                    if isinstance(error, NotWelcome) and not error.reason.startswith(
                        handshake.BUSY
                    ):
                        raise
                    if loop.time() >= until:
                        raise AdminError(
                            f"log node {tool.name} does not answer ({error or 'no answer'}); "
                            f"waited {wait_s:g} s for it"
                        ) from error
                    if not told:
                        told = True
                        tell(f"waiting for log node {tool.name}")
                    await asyncio.sleep(_RETRY_S)
            tools.append(tool)
        yield tools
    finally:
        for tool in tools:
            tool.close()


async def init_group(
    addresses: list[HostPort],
    secret: bytes | None = None,
    wait_s: float = 30.0,
    tell: Callable[[str], None] = lambda text: None,
) -> str:
    """Make the group, once. Returns the line to print. Raises `AdminError`."""
    if len(set(addresses)) != len(addresses):
        raise AdminError("a log node is named twice")
    if len(addresses) % 2 == 0:
        tell(
            f"a group of {len(addresses)} log nodes survives no more failures than one of "
            f"{len(addresses) - 1}"
        )
    async with _tools(addresses, secret, wait_s, tell) as tools:
        members = _members(tools)
        welcomes = [tool.welcome for tool in tools if tool.welcome is not None]
        if len({welcome.incarnation for welcome in welcomes}) != len(tools):
            raise AdminError("two of the addresses lead to the same log node")
        groups = {welcome.group for welcome in welcomes if welcome.group}
        if len(groups) > 1:
            raise AdminError(
                "these log nodes belong to different groups already: "
                + ", ".join(f"{t.name} to {_group(t)}" for t in tools)
            )
        if groups:
            if max(welcome.membership for welcome in welcomes) > 1 and not all(
                welcome.group for welcome in welcomes
            ):
                raise AdminError(
                    "a node of this group was replaced already (membership version above 1): an "
                    "empty log node comes in by replace-node only"
                )
            await _check_half_done(tools)
            members = next(welcome.members for welcome in welcomes if welcome.group)
        group = groups.pop() if groups else secrets.token_bytes(16)
        addresses_of = dict(member.split("=", 1) for member in members)
        if sorted(addresses_of.values()) != sorted(tool.name for tool in tools):
            raise AdminError(
                "these log nodes belong to a group already, of other addresses: "
                f"{', '.join(members)}"
            )
        node_at = {address: node for node, address in addresses_of.items()}
        fresh = 0
        for tool in tools:
            answer = await tool.ask(InitGroup(group, node_at[tool.name], members))
            assert isinstance(answer, InitDone)
            fresh += answer.fresh
    if not fresh:
        return (
            f"nothing to do: group {group.hex()} of {len(tools)} log nodes is there already "
            f"({', '.join(members)})"
        )
    return (
        f"group {group.hex()} made of {len(tools)} log nodes ({', '.join(members)})"
        if fresh == len(tools)
        else f"group {group.hex()} completed: {fresh} log nodes joined"
    )


def _group(tool: ToolConnection) -> str:
    return tool.welcome.group.hex() if tool.welcome is not None and tool.welcome.group else "none"


def _members(tools: list[ToolConnection]) -> list[str]:
    """Node ids are the AZs if those are distinct, so that people can read them."""
    azs = [tool.welcome.az for tool in tools if tool.welcome is not None]
    ids = (
        azs if len(set(azs)) == len(azs) else [f"{az}{number}" for number, az in enumerate(azs, 1)]
    )
    return sorted(f"{node}={tool.name}" for node, tool in zip(ids, tools, strict=True))


async def _check_half_done(tools: list[ToolConnection]) -> None:
    """Some nodes have the group. The others may join only while the group has no log (see the
    module).
    """
    empty = [tool.name for tool in tools if tool.welcome is not None and not tool.welcome.group]
    if not empty:
        return
    for tool in tools:
        if tool.name not in empty and (await node_status(tool))["logs"]:
            raise AdminError(
                f"log node {', '.join(empty)} is empty while {tool.name} holds logs of its group: "
                "a node that lost its disk cannot be initialised again, "
                "or what it had promised would be forgotten. Run: "
                + replace_command(empty[0], [t.name for t in tools if t.name not in empty])
            )


async def node_status(tool: ToolConnection) -> dict[str, Any]:
    answer = await tool.ask(StatusQuery(1))
    assert isinstance(answer, Status)
    status: dict[str, Any] = json.loads(answer.text)
    return status


@dataclass(slots=True)
class NodeStatus:
    """``status`` is what the node reports (see `LogNode.status`). If there is no report, it is None
    and ``error`` has the reason.
    """

    address: str
    status: dict[str, Any] | None
    error: str


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno).lower()
    return str(error) or "no answer"


async def ask_status(addresses: list[HostPort], secret: bytes | None = None) -> list[NodeStatus]:
    """Ask all nodes at once; a node that does not answer is a line, not an error."""

    async def ask(address: HostPort) -> NodeStatus:
        tool = ToolConnection(address, secret)
        try:
            await tool.open()
            return NodeStatus(tool.name, await node_status(tool), "")
        except (OSError, TimeoutError, AdminError) as error:
            return NodeStatus(tool.name, None, _reason(error))
        finally:
            tool.close()

    return list(await asyncio.gather(*(ask(address) for address in addresses)))


def replace_command(lost: str, others: list[str]) -> str:
    """The command that puts an empty log node in the place of ``lost``, at the same address."""
    words = ["txlog", "replace-node", "--lost", lost, "--new", lost, *others]
    return " ".join(shlex.quote(word) for word in words)
