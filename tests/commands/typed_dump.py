"""What is under a key, told by commands alone, so that a real server and the engine can be asked
the same and compared.
"""

from __future__ import annotations

from collections.abc import Callable

import hiredis

Run = Callable[..., bytes | None]

_READ: dict[bytes, tuple[bytes, ...]] = {
    b"string": (b"GET",),
    b"hash": (b"HGETALL",),
    b"list": (b"LRANGE", b"0", b"-1"),
    b"set": (b"SMEMBERS",),
    b"zset": (b"ZRANGE", b"0", b"-1", b"WITHSCORES"),
}


def parse(data: bytes | None) -> object:
    """A reply as Python sees it; an error as its text."""
    assert data is not None
    reader = hiredis.Reader()
    reader.feed(data)
    found = reader.gets()
    return str(found) if isinstance(found, hiredis.ReplyError) else found


def pairs(flat: object) -> list[object]:
    """A map's pairs, or those of the array that RESP2 has in its place, in order."""
    if isinstance(flat, dict):
        return sorted(flat.items())
    assert isinstance(flat, list)
    return sorted(zip(flat[::2], flat[1::2], strict=True))


def typed(run: Run, key: bytes) -> tuple[object, ...]:
    """Type, encoding, expiry and content of a key; what has no order is sorted."""
    kind = parse(run(b"TYPE", key))
    assert isinstance(kind, bytes | str)
    name = kind.encode() if isinstance(kind, str) else kind
    if name == b"none":
        return (name,)
    command, *rest = _READ[name]
    content = parse(run(command, key, *rest))
    if name == b"hash":
        content = pairs(content)
    elif name == b"set":
        assert isinstance(content, list | set)
        content = sorted(content)
    # A string's encoding depends on its past in Redis (APPEND makes it raw) and not here.
    encoding = None if name == b"string" else parse(run(b"OBJECT", b"ENCODING", key))
    return (name, encoding, parse(run(b"PEXPIRETIME", key)), content)
