"""Sorted sets' commands for the table test."""

from __future__ import annotations

from tests.commands.samples import Sample

_ZSET = "ZADD z 1 a 2 b 3 c 3 d inf e"
_OTHER = "ZADD y 10 b 20 c 30 x"
_LEX = "ZADD l 0 a 0 b 0 c 0 d"
_SET = "SADD set a b 7"
_LARGE = "ZADD big " + " ".join(f"{n % 50} member{n}" for n in range(1500))

SAMPLES: dict[str, tuple[Sample, ...]] = {
    "ZADD": (
        ("ZADD z 1 a",),
        (_ZSET, "ZADD z 1 a"),
        (_ZSET, "ZADD z XX CH 9 a 9 none"),
        (_ZSET, "ZADD z INCR 0.1 a"),
        (_LARGE, "ZADD big 7.5 member3 -1 new"),
        (_ZSET, "EXPIREAT z 4000000000", "ZADD z 5 a"),
        ("SELECT 1", "ZADD z 1 a"),
    ),
    "ZINCRBY": (("ZINCRBY z 0.1 a",), (_ZSET, "ZINCRBY z 5 a"), (_LARGE, "ZINCRBY big -3 member7")),
    "ZREM": (
        (_ZSET, "ZREM z a none c"),
        (_ZSET, "ZREM z a b c d e a"),
        (_LARGE, "ZREM big member1 member2"),
        (_ZSET, "ZREM z none"),
    ),
    "ZCARD": ((_ZSET, "ZCARD z"), ("ZCARD none",)),
    "ZSCORE": ((_ZSET, "ZSCORE z e"), (_LARGE, "ZSCORE big member9"), ("ZSCORE none a",)),
    "ZMSCORE": ((_ZSET, "ZMSCORE z a none"), ("ZMSCORE none a b",)),
    "ZCOUNT": ((_ZSET, "ZCOUNT z (1 3"), (_LARGE, "ZCOUNT big 3 7"), ("ZCOUNT none 1 2",)),
    "ZLEXCOUNT": ((_LEX, "ZLEXCOUNT l [b +"), ("ZLEXCOUNT none - +",)),
    "ZRANK": ((_ZSET, "ZRANK z c"), (_LARGE, "ZRANK big member77"), ("ZRANK none a",)),
    "ZREVRANK": ((_ZSET, "ZREVRANK z c"), ("ZREVRANK none a",)),
    "ZRANGE": (
        (_ZSET, "ZRANGE z 0 -1 WITHSCORES"),
        (_LARGE, "ZRANGE big 3 7 BYSCORE LIMIT 5 10"),
        (_LEX, "ZRANGE l + - BYLEX REV"),
        ("ZRANGE none 0 1",),
    ),
    "ZREVRANGE": ((_ZSET, "ZREVRANGE z 1 2"),),
    "ZRANGEBYSCORE": ((_ZSET, "ZRANGEBYSCORE z 1 (3 WITHSCORES LIMIT 0 1"),),
    "ZREVRANGEBYSCORE": ((_ZSET, "ZREVRANGEBYSCORE z +inf 2"),),
    "ZRANGEBYLEX": ((_LEX, "ZRANGEBYLEX l - (c"),),
    "ZREVRANGEBYLEX": ((_LEX, "ZREVRANGEBYLEX l + (b"),),
    "ZRANGESTORE": (
        (_ZSET, "ZRANGESTORE none z 1 2"),
        (_ZSET, "ZRANGESTORE e z 1 inf BYSCORE"),
        (_ZSET, "ZRANGESTORE z z 0 1 REV"),
        (_LARGE, "ZRANGESTORE z big 0 -1"),
        (_ZSET, "ZRANGESTORE s z 7 9"),
    ),
    "ZREMRANGEBYRANK": (
        (_ZSET, "ZREMRANGEBYRANK z 1 -2"),
        (_ZSET, "ZREMRANGEBYRANK z 0 -1"),
        (_LARGE, "ZREMRANGEBYRANK big 100 1400"),
    ),
    "ZREMRANGEBYSCORE": (
        (_ZSET, "ZREMRANGEBYSCORE z (1 3"),
        (_LARGE, "ZREMRANGEBYSCORE big 10 +inf"),
    ),
    "ZREMRANGEBYLEX": ((_LEX, "ZREMRANGEBYLEX l [b (d"),),
    "ZUNION": (
        (_ZSET, _OTHER, "ZUNION 3 z y none WEIGHTS 1 2 3 AGGREGATE MAX WITHSCORES"),
        (_ZSET, _SET, "ZUNION 2 z set"),
    ),
    "ZINTER": ((_ZSET, _OTHER, "ZINTER 2 z y WITHSCORES"),),
    "ZDIFF": ((_ZSET, _OTHER, "ZDIFF 2 z y WITHSCORES"),),
    "ZINTERCARD": ((_ZSET, _OTHER, "ZINTERCARD 2 z y LIMIT 1"),),
    "ZUNIONSTORE": (
        (_ZSET, _OTHER, "ZUNIONSTORE e 2 z y"),
        (_ZSET, _LARGE, "ZUNIONSTORE z 2 z big AGGREGATE MIN"),
        (_SET, "ZUNIONSTORE n 1 set"),
    ),
    "ZINTERSTORE": (
        (_ZSET, _OTHER, "ZINTERSTORE none 2 z y WEIGHTS 0.1 0.2"),
        (_ZSET, "ZINTERSTORE s 2 z none"),
    ),
    "ZDIFFSTORE": ((_ZSET, _OTHER, "ZDIFFSTORE y 2 z y"),),
    "ZPOPMIN": (
        (_ZSET, "ZPOPMIN z"),
        (_ZSET, "ZPOPMIN z 100"),
        (_LARGE, "ZPOPMIN big 100"),
        ("ZADD z 1 a", "ZPOPMIN z"),
        (_ZSET, "ZPOPMIN z 0"),
    ),
    "ZPOPMAX": ((_ZSET, "ZPOPMAX z"), (_ZSET, "ZPOPMAX z 2"), (_LARGE, "ZPOPMAX big 3")),
    "ZMPOP": (
        (_ZSET, "ZMPOP 2 none z MIN"),
        (_LARGE, "ZMPOP 1 big MAX COUNT 1000"),
        ("ZMPOP 1 none MAX",),
    ),
    "ZRANDMEMBER": (
        (_ZSET, "ZRANDMEMBER z"),
        (_ZSET, "ZRANDMEMBER z -9 WITHSCORES"),
        (_LARGE, "ZRANDMEMBER big 20"),
        (_LARGE, "ZRANDMEMBER big 1000"),
    ),
    "ZSCAN": ((_ZSET, "ZSCAN z 0 MATCH a* COUNT 5"), (_LARGE, "ZSCAN big 0"), ("ZSCAN none 0",)),
}
