"""TCP options of connections between engine nodes and log nodes.

Decides: when a peer that vanished without a message counts as gone.
Must not know: what the connection carries. It imports little, because the lease keeper uses it.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Final

# The connection is dead if the other machine does not acknowledge sent bytes within this time.
DEAD_PEER_MS: Final = 5000
# The kernel probes an idle peer after this time, and again after each such time.
_IDLE_S: Final = 5


def tune_socket(sock: socket.socket | None, dead_peer_ms: int = DEAD_PEER_MS) -> None:
    """Send small messages at once, and detect a vanished machine on an idle connection too."""
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with contextlib.suppress(OSError):  # advice to the kernel; a socket without it works as well
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, dead_peer_ms)
        if hasattr(socket, "TCP_KEEPIDLE"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _IDLE_S)
