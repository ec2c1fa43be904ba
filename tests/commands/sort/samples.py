"""Sorting for the table test."""

from __future__ import annotations

from tests.commands.samples import Sample

_LIST = "RPUSH l 3 1 2 10"
_WEIGHTS = ("MSET w_1 30 w_2 10 w_3 20", "HSET o_1 f x", "HSET o_2 f y")
_LARGE = "RPUSH big " + " ".join(str(n * 7919 % 2003) for n in range(1200))

SAMPLES: dict[str, tuple[Sample, ...]] = {
    "SORT": (
        (_LIST, "SORT l STORE out"),
        (_LIST, "RPUSH out x", "SORT l DESC LIMIT 1 2 STORE out"),
        (_LIST, "SORT l STORE l"),
        (_LIST, "SORT l STORE e"),
        (_LIST, "SORT none STORE l"),
        (_LIST, "SORT none STORE e"),
        (_LIST, *_WEIGHTS, "SORT l BY w_* GET # GET o_*->f STORE out"),
        (_LARGE, "SORT big STORE out"),
        ("SADD s2 b a c", "SORT s2 BY nosort STORE out"),
        ("ZADD z 1 c 2 a 3 b", "SELECT 1", "ZADD z 1 c 2 a", "SORT z ALPHA GET w_* STORE out"),
    ),
    "SORT_RO": (
        (_LIST, "SORT_RO l"),
        (_LIST, *_WEIGHTS, "SORT_RO l BY w_* GET # GET o_*->f"),
        ("SADD s2 b a c", "SORT_RO s2 ALPHA DESC LIMIT 0 2"),
        ("ZADD z 1 c 2 a 3 b", "SORT_RO z BY nosort DESC"),
        ("SORT_RO none",),
    ),
}
