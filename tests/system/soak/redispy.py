"""A redis-py client for the soak: one connection, bounded waits, nothing sent twice.

Decides: its settings.
Must not know: which commands it sends.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tests.system.client import Address

TIMEOUT_S = 4.0
CONNECT_S = 1.0


def redis_client(address: Address, timeout_s: float = TIMEOUT_S) -> Redis:
    return Redis(
        host=address[0],
        port=address[1],
        single_connection_client=True,
        decode_responses=True,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=timeout_s,
        socket_connect_timeout=CONNECT_S,
    )


def now_us() -> int:
    return time.monotonic_ns() // 1000


async def closed(client: Redis) -> None:
    # a connection that is given up gets no more commands
    with contextlib.suppress(RedisError, OSError, TimeoutError):
        await asyncio.wait_for(client.aclose(), 1.0)
