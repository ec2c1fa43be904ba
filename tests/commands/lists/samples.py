"""List commands for the table test."""

from __future__ import annotations

from tests.commands.samples import Sample

_LIST = "RPUSH l a b c b a 12"
_LONG = "RPUSH long " + " ".join(f"element{n} odd{'x' * (n % 7)}" for n in range(600))

SAMPLES: dict[str, tuple[Sample, ...]] = {
    "LPUSH": (
        ("LPUSH l a",),
        (_LIST, "LPUSH l x y z"),
        (_LONG, "LPUSH long x"),
        ("SELECT 1", "LPUSH l a"),
    ),
    "RPUSH": (
        ("RPUSH l a",),
        (_LIST, "RPUSH l x y z"),
        (_LONG, "RPUSH long x"),
        ("SELECT 1", "RPUSH l a"),
    ),
    "LPUSHX": ((_LIST, "LPUSHX l x"), ("LPUSHX none x",)),
    "RPUSHX": ((_LIST, "RPUSHX l x y"), ("RPUSHX none x",)),
    "LPOP": (
        (_LIST, "LPOP l"),
        (_LIST, "LPOP l 2"),
        (_LIST, "LPOP l 100"),
        (_LONG, "LPOP long 300"),
        (_LIST, "LPOP l 0"),
        ("LPOP none",),
    ),
    "RPOP": (
        (_LIST, "RPOP l"),
        (_LIST, "RPOP l 2"),
        ("RPUSH l a", "RPOP l"),
        (_LONG, "RPOP long"),
        ("RPOP none 1",),
    ),
    "LLEN": ((_LIST, "LLEN l"), ("LLEN none",)),
    "LINDEX": ((_LIST, "LINDEX l -1"), (_LONG, "LINDEX long 700"), (_LIST, "LINDEX l 100")),
    "LRANGE": ((_LIST, "LRANGE l 1 -2"), (_LONG, "LRANGE long 100 800"), ("LRANGE none 0 -1",)),
    "LSET": ((_LIST, "LSET l -2 x"), (_LONG, "LSET long 500 x")),
    "LINSERT": (
        (_LIST, "LINSERT l BEFORE c x"),
        (_LIST, "LINSERT l after none x"),
        (_LONG, "LINSERT long AFTER element400 x"),
    ),
    "LREM": (
        (_LIST, "LREM l 0 a"),
        (_LIST, "LREM l -1 b"),
        ("RPUSH l a a", "LREM l 2 a"),
        (_LONG, "LREM long 0 oddxxx"),
        (_LIST, "LREM l 0 none"),
    ),
    "LTRIM": (
        (_LIST, "LTRIM l 1 -2"),
        (_LIST, "LTRIM l 3 2"),
        (_LONG, "LTRIM long 300 400"),
        (_LIST, "LTRIM l 0 -1"),
        ("LTRIM none 0 1",),
    ),
    "LPOS": ((_LIST, "LPOS l b RANK -1"), (_LONG, "LPOS long oddxxx COUNT 0 MAXLEN 900")),
    "LMOVE": (
        (_LIST, "LMOVE l m LEFT RIGHT"),
        (_LIST, "LMOVE l l LEFT RIGHT"),
        ("RPUSH l a", "LMOVE l m RIGHT LEFT"),
        ("LMOVE none m LEFT LEFT",),
    ),
    "RPOPLPUSH": (
        (_LIST, "RPOPLPUSH l m"),
        ("RPUSH m x", _LIST, "RPOPLPUSH l m"),
        ("RPUSH l a", "RPOPLPUSH l l"),
    ),
    "LMPOP": (
        (_LIST, "LMPOP 2 none l LEFT"),
        (_LIST, "LMPOP 1 l RIGHT COUNT 10"),
        ("LMPOP 1 none LEFT",),
    ),
}
