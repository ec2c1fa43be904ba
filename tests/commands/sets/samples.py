"""Set commands for the table test."""

from __future__ import annotations

from tests.commands.samples import Sample

_NUMBERS = "SADD i 3 1 2 70000"
_WORDS = "SADD w a b c 1"
_LARGE = "SADD big " + " ".join(f"member{n}" for n in range(700))
_OTHER = "SADD other member3 member4 c 2 1"

SAMPLES: dict[str, tuple[Sample, ...]] = {
    "SADD": (
        ("SADD none 1",),
        (_NUMBERS, "SADD i 5"),
        (_NUMBERS, "SADD i 1 word 1 more"),
        (_WORDS, "SADD w d"),
        (_LARGE, "SADD big x y z"),
        ("SELECT 1", "SADD w a"),
    ),
    "SREM": (
        (_NUMBERS, "SREM i 3"),
        (_NUMBERS, "SREM i 3 none 1"),
        (_WORDS, "SREM w a b c 1 a"),
        (_LARGE, "SREM big member7"),
        (_WORDS, "SREM w none"),
    ),
    "SISMEMBER": ((_NUMBERS, "SISMEMBER i 3"), (_WORDS, "SISMEMBER w none"), ("SISMEMBER none a",)),
    "SMISMEMBER": (
        (_NUMBERS, "SMISMEMBER i 3 03 4"),
        (_LARGE, "SMISMEMBER big member1 none"),
        ("SMISMEMBER none a b",),
    ),
    "SCARD": ((_NUMBERS, "SCARD i"), (_LARGE, "SCARD big"), ("SCARD none",)),
    "SMEMBERS": ((_NUMBERS, "SMEMBERS i"), (_LARGE, "SMEMBERS big"), ("SMEMBERS none",)),
    "SMOVE": (
        (_NUMBERS, _WORDS, "SMOVE i w 3"),
        (_NUMBERS, _WORDS, "SMOVE i w 1"),
        (_NUMBERS, "SMOVE i none 1"),
        ("SADD one 1", "SMOVE one none 1"),
        (_WORDS, "SMOVE w w a"),
    ),
    "SSCAN": (
        (_NUMBERS, "SSCAN i 0"),
        (_LARGE, "SSCAN big 0 MATCH *1* COUNT 50"),
        ("SSCAN none 0",),
    ),
    "SPOP": (
        (_NUMBERS, "SPOP i"),
        (_LARGE, "SPOP big"),
        ("SADD one 1", "SPOP one"),
        (_LARGE, "SPOP big 3"),
        (_LARGE, "SPOP big 699"),
        (_LARGE, "SPOP big 700"),
        (_NUMBERS, "SPOP i 0"),
    ),
    "SRANDMEMBER": (
        (_NUMBERS, "SRANDMEMBER i"),
        (_LARGE, "SRANDMEMBER big"),
        (_LARGE, "SRANDMEMBER big 5"),
        (_LARGE, "SRANDMEMBER big -5"),
        ("SRANDMEMBER none 3",),
    ),
    "SINTER": ((_LARGE, _OTHER, "SINTER big other"), (_NUMBERS, "SINTER i none")),
    "SUNION": ((_LARGE, _OTHER, _NUMBERS, "SUNION big other none i"),),
    "SDIFF": ((_LARGE, _OTHER, "SDIFF big other none"), (_LARGE, "SDIFF big big")),
    "SINTERSTORE": (
        (_LARGE, _OTHER, "SINTERSTORE s big other"),
        (_WORDS, "SINTERSTORE w w none"),
        (_WORDS, _OTHER, "SINTERSTORE w w other"),
    ),
    "SUNIONSTORE": ((_LARGE, _OTHER, "SUNIONSTORE none big other"), (_WORDS, "SUNIONSTORE e w")),
    "SDIFFSTORE": (
        (_LARGE, _OTHER, "SDIFFSTORE other big other"),
        (_WORDS, "SDIFFSTORE w w w"),
        ("SDIFFSTORE none nothing",),
    ),
    "SINTERCARD": (
        (_LARGE, _OTHER, "SINTERCARD 2 big other LIMIT 1"),
        (_NUMBERS, "SINTERCARD 1 i"),
    ),
}
