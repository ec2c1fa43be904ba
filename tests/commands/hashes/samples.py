"""Hash commands for the table test."""

from __future__ import annotations

from tests.commands.samples import Sample

_HASH = "HSET h a 1 b 2 c x f 1.5"
_LARGE = "HSET big " + " ".join(f"field{n} {n}" for n in range(600))

SAMPLES: dict[str, tuple[Sample, ...]] = {
    "HSET": (
        ("HSET h a 1",),
        (_HASH, "HSET h a 2 d 4 d 5"),
        (_LARGE, "HSET big field3 x"),
        ("SELECT 1", "HSET h a 1"),
    ),
    "HMSET": (("HMSET h a 1 b 2",), (_LARGE, "HMSET big field3 x more y")),
    "HSETNX": ((_HASH, "HSETNX h d 4"), ("HSETNX h a 1",), (_HASH, "HSETNX h a 4")),
    "HGET": ((_HASH, "HGET h a"), ("HGET none a",)),
    "HMGET": ((_HASH, "HMGET h a none c"), ("HMGET none a",)),
    "HGETALL": ((_HASH, "HGETALL h"), (_LARGE, "HGETALL big"), ("HGETALL none",)),
    "HDEL": (
        (_HASH, "HDEL h a none c"),
        (_HASH, "HDEL h a b c f a"),
        (_LARGE, "HDEL big field1 field2"),
        (_HASH, "HDEL h none"),
    ),
    "HEXISTS": ((_HASH, "HEXISTS h a"), ("HEXISTS none a",)),
    "HINCRBY": ((_HASH, "HINCRBY h a -5"), ("HINCRBY h new 5",), (_LARGE, "HINCRBY big field7 1")),
    "HINCRBYFLOAT": ((_HASH, "HINCRBYFLOAT h f 0.1"), ("HINCRBYFLOAT h new 5e3",)),
    "HKEYS": ((_HASH, "HKEYS h"), ("HKEYS none",)),
    "HVALS": ((_HASH, "HVALS h"), (_LARGE, "HVALS big")),
    "HLEN": ((_HASH, "HLEN h"), (_LARGE, "HLEN big")),
    "HSTRLEN": ((_HASH, "HSTRLEN h f"), ("HSTRLEN none f",)),
    "HRANDFIELD": (
        (_HASH, "HRANDFIELD h"),
        (_HASH, "HRANDFIELD h 2 WITHVALUES"),
        (_LARGE, "HRANDFIELD big -700"),
        (_LARGE, "HRANDFIELD big 20"),
    ),
    "HSCAN": ((_HASH, "HSCAN h 0 MATCH a* COUNT 5"), (_LARGE, "HSCAN big 0"), ("HSCAN none 0",)),
}
