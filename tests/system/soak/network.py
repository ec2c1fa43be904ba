"""The network between the zones: namespaces where the machine allows them, otherwise TCP proxies.

Decides: the addresses of the zones, and which packets of which direction are dropped.
Must not know: processes, schedules, what is judged. A link is a pair (from, to) of zones or
CLIENTS. A cut silently drops all packets from the one to the other.
Invariants: cuts overlap (a link is open when no cut names it); `close` removes every namespace,
device and rule.

Namespaces: one for each zone, and one for the bridge between them. The bridge's forwarding filter
(nft, family bridge) is the only place where packets are dropped. Clients are outside and reach the
bridge by their own device.
Proxies: one between each engine node and each log node; it holds the bytes of one direction.
Proxies cannot cut off clients, and cannot separate the log nodes from each other.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
from collections.abc import Iterable
from typing import Protocol

from tests.system.client import Address
from tests.system.proxy import FROM_TARGET, TO_TARGET, Proxy

ZONES = ("a", "b", "c")
CLIENTS = "clients"
Link = tuple[str, str]

_FILTER = (
    "add table bridge soak; add chain bridge soak cuts { type filter hook forward priority 0; "
    "policy accept; }"
)


class Network(Protocol):
    name: str
    cuts_clients: bool

    async def open(self, log_ports: dict[str, int]) -> None: ...
    async def close(self) -> None: ...
    def host(self, zone: str) -> str: ...
    def inside(self, zone: str, command: list[str]) -> list[str]: ...
    def log_address(self, engine_zone: str, log_zone: str) -> Address: ...
    async def cut(self, number: int, links: Iterable[Link]) -> None: ...
    async def mend(self, number: int) -> None: ...


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    if done.returncode:
        raise OSError(f"`{' '.join(command)}`: {(done.stderr or done.stdout).strip()[:300]}")


class Namespaces:
    name = "network namespaces"
    cuts_clients = True

    def __init__(self) -> None:
        self.tag = f"sk{secrets.token_hex(3)}"
        self.subnet = f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(256)}"
        self.ports: dict[str, int] = {}
        self.cuts: dict[int, frozenset[Link]] = {}

    @property
    def _hub(self) -> str:
        return f"{self.tag}h"

    def host(self, zone: str) -> str:
        return f"{self.subnet}.{1 if zone == CLIENTS else 11 + ZONES.index(zone)}"

    def inside(self, zone: str, command: list[str]) -> list[str]:
        return ["ip", "netns", "exec", f"{self.tag}{zone}", *command]

    def log_address(self, engine_zone: str, log_zone: str) -> Address:
        return (self.host(log_zone), self.ports[log_zone])

    def make(self) -> None:
        """Make everything except processes.
        Raises `OSError` with the command that this machine does not accept.
        """
        hub, outside = self._hub, f"{self.tag}r"
        _run("ip", "netns", "add", hub)
        _run("ip", "-n", hub, "link", "add", "br0", "type", "bridge")
        _run("ip", "-n", hub, "link", "set", "dev", "br0", "up")
        _run("ip", "link", "add", outside, "type", "veth", "peer", "name", "outside", "netns", hub)
        _run("ip", "addr", "add", f"{self.host(CLIENTS)}/24", "dev", outside)
        _run("ip", "link", "set", "dev", outside, "up")
        _run("ip", "-n", hub, "link", "set", "dev", "outside", "master", "br0", "up")
        for zone in ZONES:
            space = f"{self.tag}{zone}"
            _run("ip", "netns", "add", space)
            _run(
                "ip",
                "-n",
                space,
                "link",
                "add",
                "eth0",
                "type",
                "veth",
                "peer",
                "name",
                f"zone-{zone}",
                "netns",
                hub,
            )
            _run("ip", "-n", hub, "link", "set", "dev", f"zone-{zone}", "master", "br0", "up")
            _run("ip", "-n", space, "addr", "add", f"{self.host(zone)}/24", "dev", "eth0")
            _run("ip", "-n", space, "link", "set", "dev", "eth0", "up")
            _run("ip", "-n", space, "link", "set", "dev", "lo", "up")
        _run("ip", "netns", "exec", hub, "nft", _FILTER)

    def unmake(self) -> None:
        for space in (*(f"{self.tag}{zone}" for zone in ZONES), self._hub):
            subprocess.run(
                ["ip", "netns", "del", space], capture_output=True, check=False, timeout=20
            )
        # the hub has usually removed it already
        subprocess.run(
            ["ip", "link", "del", f"{self.tag}r"], capture_output=True, check=False, timeout=20
        )

    async def open(self, log_ports: dict[str, int]) -> None:
        self.ports = log_ports
        await asyncio.to_thread(self.make)

    async def close(self) -> None:
        await asyncio.to_thread(self.unmake)

    async def cut(self, number: int, links: Iterable[Link]) -> None:
        self.cuts[number] = frozenset(links)
        await asyncio.to_thread(self._apply)

    async def mend(self, number: int) -> None:
        if self.cuts.pop(number, None) is not None:
            await asyncio.to_thread(self._apply)

    def _apply(self) -> None:
        """Replace all rules in one step."""
        dropped = sorted({link for links in self.cuts.values() for link in links})
        rules = [
            f"add rule bridge soak cuts ip saddr {self.host(source)} ip daddr {self.host(target)} "
            "drop"
            for source, target in dropped
        ]
        _run(
            "ip",
            "netns",
            "exec",
            self._hub,
            "nft",
            "; ".join(["flush chain bridge soak cuts", *rules]),
        )


class Proxies:
    name = "TCP proxies"
    cuts_clients = False

    def __init__(self) -> None:
        self.made: dict[Link, Proxy] = {}  # (engine node's zone, log node's zone)
        self.cuts: dict[int, frozenset[Link]] = {}

    def host(self, zone: str) -> str:
        return "127.0.0.1"

    def inside(self, zone: str, command: list[str]) -> list[str]:
        return command

    def log_address(self, engine_zone: str, log_zone: str) -> Address:
        return self.made[engine_zone, log_zone].address

    async def open(self, log_ports: dict[str, int]) -> None:
        for engine_zone in ZONES:
            for log_zone in ZONES:
                self.made[engine_zone, log_zone] = await Proxy(
                    (self.host(log_zone), log_ports[log_zone])
                ).start()

    async def close(self) -> None:
        for proxy in self.made.values():
            await proxy.stop()

    async def cut(self, number: int, links: Iterable[Link]) -> None:
        self.cuts[number] = frozenset(links)
        self._apply()

    async def mend(self, number: int) -> None:
        self.cuts.pop(number, None)
        self._apply()

    def _apply(self) -> None:
        dropped = {link for links in self.cuts.values() for link in links}
        for (engine_zone, log_zone), proxy in self.made.items():
            for link, direction in (
                ((engine_zone, log_zone), TO_TARGET),
                ((log_zone, engine_zone), FROM_TARGET),
            ):
                (proxy.hold if link in dropped else proxy.let_go)(direction)


def choose(wanted: str = "auto") -> tuple[Network, str]:
    """The network to use, and the reason.
    Namespaces if this machine makes them, unless `wanted` is "proxies".
    """
    if wanted == "proxies":
        return Proxies(), "as asked for"
    if os.geteuid() != 0:
        reason = "namespaces need root"
    else:
        trial = Namespaces()
        try:
            trial.make()
            return Namespaces(), "root, and this machine makes them"
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = f"namespaces: {error}"
        finally:
            trial.unmake()
    if wanted == "namespaces":
        raise RuntimeError(reason)
    return Proxies(), reason


def zone_links(zone: str, also: Iterable[str] = ()) -> tuple[list[Link], list[Link]]:
    """(links into the zone, links out of it), from and to the other zones and `also`."""
    others = [other for other in ZONES if other != zone] + list(also)
    return [(other, zone) for other in others], [(zone, other) for other in others]
