"""Which log nodes make up the group, as far as a client has heard, and where each is to be sought
(S7, S8).

Decides: whether a node that answered counts, and as which; the address to try next for each place.
Must not know: connections, what is asked of nodes.

A client is given one address a node and keeps that many places. While the membership is the first
one, a place is sought at its own address. Later, a place whose node is not known to be a member is
also sought at the addresses of the members that nobody has met yet; so a client that knows one old
node finds the replacement, whatever its own list says.

The proven member list also says whose address each one is. If an address leads to another node
(something relays connections), the connection is refused and nothing is kept of it: the place is
still that of the address's node.

Invariants: each place is one node and no node has two; what was heard under a lower version counts
no more; the version never goes down.
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
        # who has answered there, under this version or a lower one that had him too
        self.node_of: dict[int, str] = {}
        self._given = given
        # by node id, of this version; None: not to be understood here
        self._addresses: dict[str, HostPort | None] = {}
        self._members: list[str] = []
        self._met_at: dict[int, HostPort] = {}
        self._attempts: dict[int, int] = {}

    def on_version(self, version: int, members: list[str]) -> bool:
        """True: this is a higher version; all that was heard before is void."""
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
        """Why the node that answered for this place does not count, "" when it does. ``name``: of
        its address; ``names``: of all addresses.
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
        # with a higher version it is sought again elsewhere
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
