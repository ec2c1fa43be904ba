"""Arguments for the table test: for a row, commands that prepare a database and then the command
itself, one to a line.

A family adds its rows here or as ``SAMPLES`` of a module named samples.py in a folder below this
one. Every READONLY and every WRITE row needs one.
"""

from __future__ import annotations

Sample = tuple[str, ...]

# what any sample finds: strings, numbers, keys that expire (far away), two databases
SETTING: Sample = (
    "MSET s hello n 10 f 1.5 {a}x one {a}y two",
    "SET e later PXAT 4000000000000",
    "SELECT 1",
    "MSET s other n 5",
    "SELECT 0",
)

SAMPLES: dict[str, tuple[Sample, ...]] = {
    "GET": (("GET s",), ("GET none",)),
    "SET": (
        ("SET s v",),
        ("SET e v KEEPTTL",),
        ("SET s v PX 100000",),
        ("SET s v PXAT 1",),
        ("SET s v XX GET",),
        ("SET none v NX",),
    ),
    "SETNX": (("SETNX none v",),),
    "SETEX": (("SETEX s 100 v",),),
    "PSETEX": (("PSETEX none 100 v",),),
    "GETSET": (("GETSET e v",),),
    "GETDEL": (("GETDEL e",),),
    "GETEX": (("GETEX s EX 100",), ("GETEX e PERSIST",), ("GETEX s PXAT 1",)),
    "MGET": (("MGET s none n",),),
    "MSET": (("MSET s 1 e 2 none 3 s 4",),),
    "MSETNX": (("MSETNX none 1 nothing 2",),),
    "STRLEN": (("STRLEN s",),),
    "APPEND": (("APPEND e more",), ("APPEND none more",)),
    "SETRANGE": (("SETRANGE e 10 more",), ("SETRANGE none 3 more",)),
    "GETRANGE": (("GETRANGE s 1 -1",),),
    "SUBSTR": (("SUBSTR s 1 -1",),),
    "INCR": (("INCR n",), ("INCR none",)),
    "DECR": (("DECR n",),),
    "INCRBY": (("INCRBY n 7",),),
    "DECRBY": (("DECRBY n 7",),),
    "INCRBYFLOAT": (("INCRBYFLOAT f 0.1",), ("PEXPIREAT f 4000000000000", "INCRBYFLOAT f 1")),
    "LCS": (("LCS s e IDX",),),
    "DEL": (("DEL s none e",),),
    "UNLINK": (("UNLINK s none e",),),
    "EXISTS": (("EXISTS s none",),),
    "TOUCH": (("TOUCH s none",),),
    "TYPE": (("TYPE s",),),
    "RENAME": (("RENAME e s",), ("RENAME s e",), ("RENAME s s", "RENAME n n2")),
    "RENAMENX": (("RENAMENX e none",),),
    "COPY": (
        ("COPY e none",),
        ("COPY s e REPLACE",),
        ("COPY e s DB 1 REPLACE",),
        ("SELECT 1", "COPY s x DB 0"),
    ),
    "MOVE": (("MOVE e 1",), ("SELECT 1", "COPY s moved", "MOVE moved 2")),
    "EXPIRE": (("EXPIRE s 100",), ("EXPIRE e 0",)),
    "PEXPIRE": (("PEXPIRE s 100",),),
    "EXPIREAT": (("EXPIREAT s 4000000000",),),
    "PEXPIREAT": (("PEXPIREAT s 4000000000000 NX",),),
    "PERSIST": (("PERSIST e",),),
    "TTL": (("TTL e",),),
    "PTTL": (("PTTL e",),),
    "EXPIRETIME": (("EXPIRETIME e",),),
    "PEXPIRETIME": (("PEXPIRETIME e",),),
    "KEYS": (("KEYS *",),),
    "SCAN": (("SCAN 0 MATCH s*",),),
    "RANDOMKEY": (("RANDOMKEY",),),
    "DBSIZE": (("DBSIZE",),),
    "OBJECT|ENCODING": (("OBJECT ENCODING s",),),
    "OBJECT|FREQ": (("OBJECT FREQ none",),),
    "OBJECT|IDLETIME": (("OBJECT IDLETIME s",),),
    "OBJECT|REFCOUNT": (("OBJECT REFCOUNT s",),),
    "FLUSHDB": (("FLUSHDB",), ("SELECT 1", "FLUSHDB ASYNC")),
    "FLUSHALL": (("FLUSHALL",), ("SELECT 1", "FLUSHALL SYNC")),
    "SWAPDB": (("SWAPDB 0 1",), ("SELECT 1", "SWAPDB 1 2")),
    "MEMORY|USAGE": (("MEMORY USAGE s",),),
    "DEBUG|DIGEST": (("DEBUG DIGEST",),),
    "DEBUG|DIGEST-VALUE": (("DEBUG DIGEST-VALUE s none",),),
    "DEBUG|OBJECT": (("DEBUG OBJECT s",),),
    "FUNCTION|FLUSH": (("FUNCTION FLUSH",), ("FUNCTION FLUSH ASYNC",)),
    "LOLWUT": (("LOLWUT",),),
}
