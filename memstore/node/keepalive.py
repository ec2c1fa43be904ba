"""TCP keep-alive of client connections: detects that a client's machine is gone.

Decides: which socket options make up ``tcp-keepalive``.
Must not know: clients, commands.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

_PROBES: Final = 3


def keep_alive(transport: asyncio.BaseTransport, period_s: int) -> None:
    """Probe an idle peer after ``period_s`` seconds, and three times more before giving it up; 0:
    never probe.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or period_s <= 0:
        return
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, period_s)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, period_s // _PROBES))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
    except OSError:
        # A Unix socket, or a period above the kernel's limit: the connection works without it.
        return
