"""The socket options behind tcp-keepalive."""

from __future__ import annotations

import asyncio
import socket

import pytest

from memstore.node.keepalive import keep_alive


class Transport(asyncio.BaseTransport):
    pass


@pytest.mark.parametrize(("period_s", "on"), [(30, 1), (0, 0)])
def test_options(period_s: int, on: int) -> None:
    with socket.socket() as sock:
        keep_alive(Transport({"socket": sock}), period_s)
        assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) == bool(on)
        if on and hasattr(socket, "TCP_KEEPIDLE"):
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == period_s
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == period_s // 3


def test_what_the_kernel_refuses_does_no_harm() -> None:
    with socket.socket() as sock:
        keep_alive(Transport({"socket": sock}), 2**31 - 1)
    keep_alive(Transport({}), 30)
