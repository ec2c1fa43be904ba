"""`txlog delete-log`: remove a log from every node of its group, so that its name is free again.

Decides: when a log may be deleted, in which order the nodes get the steps, what the operator reads.
Must not know: how a node does a step (`server.deletion`). Each run reads all states at its start.
So the operator repeats an interrupted command with the same words, and it continues.

The order: the command changes nothing until every node of the group answers and no node has a
writer or reader of the log. A node that is down would keep its copy, and that copy could vote in a
later log of the same name. Then every node is marked, then every folder is removed, then every name
is cleared.

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
    """Delete the log and return the last line to print.

    ``wait_s``: how long to wait for a lease that still runs. Raises `AdminError`; another run
    continues from there.
    """
    tools: list[ToolConnection] = []
    try:
        group = await look(nodes, secret, tools, tell)
        _check_all_there(group)
        found = await _free(name, group, wait_s, tell)
        states = {node: deletion.state for node, deletion in found.items()}
        last = max(deletion.last for deletion in found.values())
        began = "gone" in states.values()
        # all folders are removed; a node that has the log "kept" got it in a later creation
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
    """The state of every node, once no node has the log in use. A lease ends by itself, so this
    waits for it.
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
            return states  # the user has a later log of that name
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
