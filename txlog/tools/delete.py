"""`txlog delete-log`: a log goes from every node of its group, and its name is free again.

Decides: when a log may be deleted, in which order the nodes are told, what the operator hears.
Must not know: how a node does a step (`server.deletion`). Everything is looked up at the start of
each run, so a command that was cut short is run again with the same words, and goes on where it
was.

The order: nothing is changed before every node of the group answers and none has a writer or reader
of the log. A node that is down would keep its copy, and that copy could vote in a later log of the
same name. Then every node is marked, then every folder is removed, then every name is cleared.

Invariant: no folder is removed before all nodes are marked, and no name is cleared before all
folders are removed.
"""

from __future__ import annotations

import asyncio
from typing import Final

from txlog.messages import DeleteLog, LogDeletion
from txlog.tool_connection import AdminError, HostPort, ToolConnection
from txlog.tools.admin import node_status
from txlog.tools.replace import Group, Tell, addresses_of, look

_RETRY_S: Final = 0.2

States = dict[str, LogDeletion]  # by node id


async def delete_log(
    name: str, nodes: list[HostPort], secret: bytes | None, wait_s: float, tell: Tell
) -> str:
    """Gives the line to print at the end. ``wait_s``: for a lease that still runs. Raises
    `AdminError`; another run goes on from there.
    """
    tools: list[ToolConnection] = []
    try:
        group = await look(nodes, secret, tools, tell)
        _check_all_there(group)
        found = await _free(name, group, wait_s, tell)
        states = {node: deletion.state for node, deletion in found.items()}
        last = max(deletion.last for deletion in found.values())
        began = "gone" in states.values()
        # all folders are removed; a log that is kept there was made after that
        if began and "marked" not in states.values():
            await _all(
                name,
                group,
                "clear",
                [node for node, state in states.items() if state == "gone"],
                tell,
            )
            fresh = sorted(node for node, state in states.items() if state == "kept")
            return f"log '{name}' is deleted" + (
                f"; the log '{name}' of {', '.join(fresh)} was made later and stays"
                if fresh
                else ""
            )
        if set(states.values()) == {"none"}:
            raise AdminError(f"there is no log '{name}' in this group; it has {await _logs(group)}")
        await _all(name, group, "mark", sorted(states), tell)
        await _all(name, group, "remove", sorted(states), tell)
        await _all(name, group, "clear", sorted(states), tell)
        return f"log '{name}' is deleted on {', '.join(sorted(states))}" + (
            f"; its last position was {last}" if last else ""
        )
    finally:
        for tool in tools:
            tool.close()


def _check_all_there(group: Group) -> None:
    newest = group.newest
    for node, address in sorted(addresses_of(newest).items()):
        if node not in group.nodes:
            raise AdminError(
                f"log node {node} at {address} does not answer. It would keep its copy of the "
                "log: start it, or replace it with 'txlog replace-node', "
                "then run the command again; nothing was changed"
            )
        if group.versions[node] != newest.version:
            raise AdminError(
                f"log node {node} does not have membership version {newest.version} yet: run the "
                "command again; nothing was changed"
            )


async def _free(name: str, group: Group, wait_s: float, tell: Tell) -> States:
    """How far every node is, once no node has the log in use. A lease ends by itself:
    it is waited for.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_s
    said = ""
    while True:
        states = {node: await _step(name, group, node, "look") for node in sorted(group.nodes)}
        in_use = next(
            (f"log node {node}: {state.in_use}" for node, state in states.items() if state.in_use),
            "",
        )
        if not in_use or all(state.state in ("none", "gone") for state in states.values()):
            return states
        if any(state.state == "gone" for state in states.values()) and all(
            state.state != "marked" for state in states.values()
        ):
            return states  # who uses it uses a later log of that name
        if loop.time() >= until:
            raise AdminError(f"{in_use}; nothing was changed")
        if not said:
            said = in_use
            tell(f"waiting: {in_use}")
        await asyncio.sleep(_RETRY_S)


async def _all(name: str, group: Group, step: str, nodes: list[str], tell: Tell) -> None:
    done = {
        "mark": "serves the log no more",
        "remove": "has removed the log's folder",
        "clear": "has forgotten the log",
    }[step]
    for node in nodes:
        await _step(name, group, node, step)
        tell(f"log node {node} {done}")


async def _step(name: str, group: Group, node: str, step: str) -> LogDeletion:
    tool = group.nodes[node]
    again = "" if step == "look" else "; the log is not deleted yet: run the command again"
    try:
        answer = await tool.ask(DeleteLog(group.newest.group, group.newest.version, name, step))
    except (OSError, TimeoutError) as error:
        raise AdminError(
            f"log node {node} at {tool.name} does not answer ({str(error) or 'no answer'}){again}"
        ) from error
    except AdminError as error:
        raise AdminError(f"{error}{again}") from error
    assert isinstance(answer, LogDeletion)
    return answer


async def _logs(group: Group) -> str:
    names: set[str] = set()
    for tool in group.nodes.values():
        names |= set((await node_status(tool))["known_logs"])
    return ", ".join(sorted(names)) or "no logs"
