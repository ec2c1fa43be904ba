"""`txlog replace-node`: put a new log node in the place of one that is lost (S8).

Decides: in which order the nodes get the steps, what is checked before any change, what the
operator reads.
Must not know: logs' contents. The log nodes themselves decide what makes a replacement safe
(`server.membership`, `consensus.learner`). Each run reads all states again. So the operator repeats
an interrupted command with the same words, and it continues.

The order:

- (0) Nothing changes before the new node and a majority of the group without the lost node answer.
- (1) The members that stay take the new membership, one after the other in the order of their ids.
  A majority of the group must take it.
- (2) The new node gets its place.
- (3) It copies, waits and counts by itself; the command only watches.

Invariant: a place belongs to one data folder. An empty node whose folder is not the one in the
membership gets a place, and a version, of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from txlog.address import format_host_port, parse_host_port
from txlog.messages import InitDone, JoinGroup, Membership, Welcome
from txlog.tool_connection import AdminError, HostPort, NotWelcome, ToolConnection
from txlog.tools.admin import node_status

_WATCH_S: Final = 0.2
_ID_DIGITS: Final = 8  # of the folder's id in a node's id

Tell = Callable[[str], None]


@dataclass(slots=True)
class Group:
    """The answers of the nodes."""

    newest: Membership
    nodes: dict[str, ToolConnection]  # by node id, of the newest membership's members
    versions: dict[str, int]  # the membership version of each of them


async def replace_node(
    lost: HostPort,
    new: HostPort,
    nodes: list[HostPort],
    secret: bytes | None,
    wait_s: float,
    tell: Tell,
) -> str:
    """Replace the node and return the line to print.

    Raises `AdminError`. What was done before the error stays, and another run continues from there.
    """
    tools: list[ToolConnection] = []
    try:
        newcomer = await _open(new, secret, tools)
        if isinstance(newcomer, str):
            raise AdminError(
                f"the new log node {format_host_port(*new)} does not answer ({newcomer}): start "
                "it first, with an empty data folder"
            )
        group = await look([node for node in nodes if node not in (lost, new)], secret, tools, tell)
        welcome = newcomer.welcome
        assert welcome is not None
        if welcome.group and welcome.group != group.newest.group:
            raise AdminError(
                f"{newcomer.name} belongs to another group; a newcomer has an empty data folder"
            )
        place = _place_of(welcome, group.newest)
        if place:
            _check_named(lost, new, place, welcome, group.newest)
        else:
            _check_lost(
                lost,
                new,
                welcome,
                group,
                await _open(lost, secret, tools) if lost != new else "",
                tell,
            )
            group.newest, place = _next(group.newest, lost, newcomer)
        group.nodes.pop(place, None)
        _check_majority(group, place)
        await _check_whole(group)
        await _adopt(group, place, tell)
        logs = await _join(group, place, newcomer, tell)
        await _watch(newcomer, logs, wait_s, tell)
        return (
            f"log node {place} at {newcomer.name} is a member in full: membership version "
            f"{group.newest.version}, {', '.join(group.newest.members)}"
        )
    finally:
        for tool in tools:
            tool.close()


async def _open(
    address: HostPort, secret: bytes | None, tools: list[ToolConnection]
) -> ToolConnection | str:
    """The connection, or the reason why there is none.

    Either there is no answer, or the answer does not prove that it is from a log node. An impostor
    at the address of a lost node must not prevent the replacement.
    """
    tool = ToolConnection(address, secret)
    tools.append(tool)
    try:
        await tool.open()
    except NotWelcome as refused:
        return f"not as a log node: {refused.reason}"
    except (OSError, TimeoutError) as error:
        return str(error) or "no answer"
    return tool


async def look(
    nodes: list[HostPort], secret: bytes | None, tools: list[ToolConnection], tell: Tell
) -> Group:
    """Connect to every reachable member, at the given addresses or at those of the membership."""
    found: dict[str, ToolConnection] = {}
    newest: Membership | None = None
    asked: set[HostPort] = set()
    wanted = list(nodes)
    while wanted:
        address = wanted.pop(0)
        if address in asked:
            continue
        asked.add(address)
        tool = await _open(address, secret, tools)
        if isinstance(tool, str):
            tell(f"{format_host_port(*address)} does not answer ({tool})")
            continue
        if tool.welcome is None or not tool.welcome.group:
            continue
        welcome = tool.welcome
        if newest is not None and welcome.group != newest.group:
            raise AdminError(f"{tool.name} belongs to another group than the other log nodes")
        found[welcome.node] = tool
        if newest is None or welcome.membership > newest.version:
            newest = Membership(welcome.group, welcome.membership, welcome.members)
        wanted += [parse_host_port(member.partition("=")[2]) for member in welcome.members]
    if newest is None:
        raise AdminError("none of the log nodes named answers as a member of a group")
    addresses = addresses_of(newest)
    members = {node: tool for node, tool in found.items() if node in addresses}
    return Group(
        newest,
        members,
        {
            node: tool.welcome.membership
            for node, tool in members.items()
            if tool.welcome is not None
        },
    )


def addresses_of(membership: Membership) -> dict[str, str]:
    return dict(member.split("=", 1) for member in membership.members)


def _place_id(welcome: Welcome) -> str:
    return f"{welcome.az}-{welcome.folder[:_ID_DIGITS]}"


def _place_of(welcome: Welcome, newest: Membership) -> str:
    """The place that this new node already has in the membership. "": it has none, and needs a new
    version.
    """
    node = welcome.node if welcome.group else _place_id(welcome)
    return node if node in addresses_of(newest) else ""


def _check_named(
    lost: HostPort, new: HostPort, place: str, welcome: Welcome, newest: Membership
) -> None:
    """The new node has a place: check that this command gives that place, and that the operator did
    not name a member by mistake.
    """
    if place != _place_id(welcome):
        raise AdminError(
            f"{format_host_port(*new)} is log node {place} of this group and not a new one: it "
            "answers, so it is not lost either"
        )
    if lost != new and format_host_port(*lost) in addresses_of(newest).values():
        raise AdminError(
            f"{format_host_port(*new)} is a member already, in the place of another node than "
            f"{format_host_port(*lost)}, which is one still"
        )


def _check_lost(
    lost: HostPort,
    new: HostPort,
    welcome: Welcome,
    group: Group,
    there: ToolConnection | str,
    tell: Tell,
) -> None:
    """Before the first step: check that the lost node is really gone and the new node is really
    new.

    ``there``: what answers at the lost address.
    """
    name = format_host_port(*lost)
    if welcome.group:
        raise AdminError(
            f"{format_host_port(*new)} is log node {welcome.node}, which was replaced; empty its "
            "data folder to use the machine as a new log node"
        )
    if not welcome.folder:
        raise AdminError(
            f"{format_host_port(*new)} is of a version that cannot replace another log node"
        )
    node = next(
        (node for node, address in addresses_of(group.newest).items() if address == name), ""
    )
    if not node:
        raise AdminError(f"{name} is no member of the group: {', '.join(group.newest.members)}")
    if lost == new:
        return
    if isinstance(there, str):
        tell(f"log node {node} at {name} does not answer ({there})")
    elif there.welcome is not None and there.welcome.node == node:
        raise AdminError(
            f"log node {node} at {name} answers: it is not lost. Stop it before it is replaced"
        )
    elif there.welcome is not None:
        found = there.welcome.node
        found = f"log node {found}" if found else "a log node without a group"
        tell(f"log node {node} does not answer: {name} leads to {found}")


def _next(newest: Membership, lost: HostPort, newcomer: ToolConnection) -> tuple[Membership, str]:
    assert newcomer.welcome is not None
    place, name = _place_id(newcomer.welcome), format_host_port(*lost)
    members = sorted(
        [member for member in newest.members if member.partition("=")[2] != name]
        + [f"{place}={newcomer.name}"]
    )
    return Membership(newest.group, newest.version + 1, members), place


def _check_majority(group: Group, place: str) -> None:
    staying = [node for node in addresses_of(group.newest) if node != place]
    there = [node for node in staying if node in group.nodes]
    needed = len(group.newest.members) // 2 + 1
    if len(there) < needed:
        raise AdminError(
            f"{len(there)} of the {len(staying)} log nodes that stay can be reached "
            f"({', '.join(there) or 'none'}), {needed} are needed; nothing was changed"
        )


async def _check_whole(group: Group) -> None:
    """Check that a majority is whole: the new node cannot copy what a damaged node lacks.

    The repair should come first. The check runs only before the first change, because after it the
    only way is forward.
    """
    if max(group.versions.values()) >= group.newest.version:
        return
    whole, trouble = 0, ""
    statuses: dict[str, dict[str, Any]] = {}
    for node in sorted(set(group.nodes) & set(addresses_of(group.newest))):
        try:
            statuses[node] = await node_status(group.nodes[node])
        except (OSError, TimeoutError) as error:
            trouble = f"log node {node} does not say how it is ({str(error) or 'no answer'})"
    used = {
        row["log"]
        for status in statuses.values()
        for row in status["logs"]
        if row["last"][1] or row["promised"]
    }
    for node, status in statuses.items():
        rows = status["logs"]
        bad = next((row for row in rows if row["suspect"] or row["broken"]), None)
        # the node would make these logs later, and begin them as a new node
        missing = sorted(used - {row["log"] for row in rows}) if status["joined"] > 1 else []
        if status["refused"]:
            trouble = (
                f"log '{next(iter(status['refused']))}' of log node {node} is refused "
                f"({next(iter(status['refused'].values()))})"
            )
        elif bad is not None:
            trouble = (
                f"log '{bad['log']}' of log node {node} is not whole "
                f"({(bad['broken'] or bad['suspect'])['reason']})"
            )
        elif missing:
            trouble = f"log '{missing[0]}' was not copied to log node {node} yet"
        else:
            whole += 1
    if whole < len(group.newest.members) // 2 + 1:
        raise AdminError(
            f"{trouble}: wait until it is, or nothing may be left to copy from; nothing was changed"
        )


async def _adopt(group: Group, place: str, tell: Tell) -> None:
    """Step 1. The first node refuses a different successor of the same version."""
    newest = group.newest
    needed = len(newest.members) // 2 + 1
    have = 0
    for node in sorted((set(group.nodes) & set(addresses_of(newest))) - {place}):
        tool = group.nodes[node]
        try:
            answer = await tool.ask(newest)
        except (OSError, TimeoutError) as error:
            tell(
                f"log node {node} at {tool.name} does not answer ({str(error) or 'no answer'}); "
                "it will hear of the new membership from the others"
            )
            continue
        if (
            not isinstance(answer, Membership)
            or answer.version != newest.version
            or answer.members != newest.members
        ):
            raise AdminError(f"log node {node} at {tool.name} goes by another membership")
        have += 1
        tell(
            f"log node {node} at {tool.name} has membership version {newest.version} ({have} of "
            f"{needed} needed)"
        )
    if have < needed:
        raise AdminError(
            f"only {have} of {needed} log nodes have membership version {newest.version}: run the "
            "command again when more can be reached"
        )


async def _join(group: Group, place: str, newcomer: ToolConnection, tell: Tell) -> set[str]:
    """Step 2. Returns the names of the group's logs."""
    assert newcomer.welcome is not None
    logs: set[str] = set()
    for node, tool in sorted(group.nodes.items()):
        try:
            logs |= set((await node_status(tool))["known_logs"])
        except (OSError, TimeoutError) as error:
            tell(f"log node {node} does not say which logs it has ({str(error) or 'no answer'})")
    newest = group.newest
    answer = await _ask(
        newcomer,
        JoinGroup(
            newest.group,
            place,
            newest.version,
            newest.members,
            newcomer.welcome.folder,
            sorted(logs),
        ),
    )
    assert isinstance(answer, InitDone)
    tell(
        f"log node {place} at {newcomer.name} "
        f"{'has its place in the group' if answer.fresh else 'had its place in the group already'}"
    )
    return logs


async def _ask(tool: ToolConnection, message: JoinGroup) -> Any:
    try:
        return await tool.ask(message)
    except (OSError, TimeoutError) as error:
        raise AdminError(
            f"the new log node {tool.name} does not answer ({str(error) or 'no answer'}): run the "
            "command again when it does"
        ) from error


async def _watch(newcomer: ToolConnection, logs: set[str], wait_s: float, tell: Tell) -> None:
    """Step 3: watch until the new node counts in every log. It needs no help for that."""
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_s
    said = ""
    while True:
        try:
            status = await node_status(newcomer)
        except (OSError, TimeoutError) as error:
            raise AdminError(
                f"the new log node {newcomer.name} does not answer any more "
                f"({str(error) or 'no answer'}); it goes on by itself once it is up"
            ) from error
        text = progress(status, logs)
        if not text:
            return
        if text != said:
            said = text
            tell(text)
        if loop.time() >= until:
            raise AdminError(
                f"not finished within {wait_s:g} s, and going on by itself: run the command "
                "again, or `txlog status`, to see how far it is"
            )
        await asyncio.sleep(_WATCH_S)


def progress(status: dict[str, Any], logs: set[str]) -> str:
    """What a new node still has to do, "" when it is a full member."""
    rows = {row["log"]: row for row in status["logs"]}
    waiting = [
        f"log '{name}' is being opened"
        for name in sorted(logs | set(status["known_logs"]))
        if name not in rows
    ]
    waiting += [
        f"log '{name}' {describe(row)}" for name, row in sorted(rows.items()) if row["newcomer"]
    ]
    return "; ".join(waiting)


def describe(row: dict[str, Any]) -> str:
    """A new node's state in one log."""
    joining = row["newcomer"]
    if joining["state"] == "asking":
        return f"asks the other log nodes, {joining['answers']} have answered"
    if joining["state"] == "copying":
        return f"copies: at {row['last'][1]} of {joining['goal'][1]}"
    return "has everything and waits for one lease window"
