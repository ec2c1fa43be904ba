"""The log nodes of the group as a client knows them, and the address to try for each (S7, S8).

Decides: whether a node that answered counts, and for which place; the address to try next for each
place.
Must not know: connections, what nodes are asked.

A client gets one address for each node and has as many places. While the membership is the first
one, the client tries each place at its own address. Later, a place may have no node that is known
to be a member. Then the client also tries the addresses of the members that it has not met yet. So
a client that knows one old node finds the replacement, whatever its own list says.

The proven member list also says which node owns each address. If an address leads to another node
(a relay is between them), the client refuses the connection and keeps nothing from it: the place
still belongs to the address's owner.

Invariants: each place is one node and no node has two places; answers under a lower version do not
count; the version never goes down.
"""

from __future__ import annotations

from txlog import handshake
from txlog.address import AddressError, parse_host_port
from txlog.messages import Welcome

HostPort = tuple[str, int]


class Members:
    def __init__(self, given: tuple[HostPort, ...]) -> None:
        self.group = b""
        self.version = 0
        # the node that answered there, under this version or under a lower one that also had it as
        # a member
        self.node_of: dict[int, str] = {}
        self._given = given
        # by node id, in this version; None: the address cannot be read on this client
        self._addresses: dict[str, HostPort | None] = {}
        self._members: list[str] = []
        self._met_at: dict[int, HostPort] = {}
        self._attempts: dict[int, int] = {}

    def on_version(self, version: int, members: list[str]) -> bool:
        """True: this version is higher, and all earlier answers are void."""
        if version <= self.version:
            return False
        self.version, self._members = version, list(members)
        self._addresses = {}
        for member in members:
            node, _, address = member.partition("=")
            try:
                self._addresses[node] = parse_host_port(address)
            except AddressError:
                self._addresses[node] = None
        self.node_of = {
            index: node for index, node in self.node_of.items() if node in self._addresses
        }
        return True

    def refusal(self, index: int, welcome: Welcome, name: str, names: list[str]) -> str:
        """The reason why the node that answered for this place does not count, "" when it does.

        ``name``: of its address; ``names``: of all addresses.
        """
        if self.group and welcome.group != self.group:
            return f"{handshake.GROUP}: {name} belongs to another group than the other log nodes"
        if len(welcome.members) != len(self._given):
            return (
                f"{handshake.GROUP}: the group has {len(welcome.members)} log nodes "
                f"({', '.join(welcome.members)}), the address names {len(self._given)}"
            )
        if welcome.membership < self.version:
            return (
                f"{handshake.MEMBERSHIP}: {name} has version {welcome.membership}, the group "
                f"is at {self.version}"
            )
        if welcome.membership == self.version and welcome.members != self._members:
            return (
                f"{handshake.MEMBERSHIP}: version {self.version} is "
                f"{', '.join(welcome.members)} at {name} and {', '.join(self._members)} at others"
            )
        owner = next(
            (
                member.partition("=")[0]
                for member in welcome.members
                if member.partition("=")[2] == name
            ),
            welcome.node,
        )
        if owner != welcome.node:
            return (
                f"{handshake.ADDRESS}: {name} is the address of log node {owner} and leads to "
                f"log node {welcome.node}"
            )
        # with a higher version the client tries the place at other addresses again
        kind = handshake.GROUP if self.version <= 1 else handshake.MEMBERSHIP
        if self.node_of.get(index, welcome.node) != welcome.node:
            return (
                f"{kind}: {name} was log node {self.node_of[index]} and now leads to {welcome.node}"
            )
        twin = next(
            (
                other
                for other, node in self.node_of.items()
                if node == welcome.node and other != index
            ),
            None,
        )
        if twin is not None:
            return f"{kind}: {name} and {names[twin]} are the same log node {welcome.node}"
        return ""

    def set_node(self, index: int, node: str, at: HostPort) -> None:
        self.node_of[index] = node
        self._met_at[index] = at

    def where(self, index: int) -> HostPort:
        """The address to try now for this place."""
        if index in self.node_of and index in self._met_at:
            return self._met_at[index]
        places = [self._given[index]]
        if self.version > 1:
            met = set(self.node_of.values())
            places += [
                address
                for node, address in sorted(self._addresses.items())
                if node not in met and address is not None and address not in places
            ]
        attempt = self._attempts.get(index, 0)
        self._attempts[index] = attempt + 1
        return places[attempt % len(places)]
