"""The settings: one table that names, types, bounds and documents each setting, and their values.

Decides: which settings exist, what values they take, which of them CONFIG SET may change at run
time.
Must not know: files, command lines (`memstore.config`), what reads a setting.

A field of `Settings` is a row of the table. Its attribute name carries the unit where the setting's
public name (Redis' name, if Redis has one) does not. Code that uses a setting at run time reads the
attribute each time, so CONFIG SET needs no callback. CONFIG SET changes one node only: other nodes
and the next start do not see it. Some rows have one allowed value: they answer clients that ask
(``save``, ``appendonly``) with what is true here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Final

from memstore.engine.output_limits import DEFAULT, OutputLimits, parse_limits
from memstore.engine.values import parse_integer
from memstore.engine.values.double import parse_double

KIB: Final = 1024
MIB: Final = 1024 * 1024
_INT_MAX: Final = 2**31 - 1
_LONG_MAX: Final = 2**63 - 1

# Kinds of values.
NUMBER: Final = "number"
MEMORY: Final = "memory"  # bytes; "64mb" and the like are valid
FLAG: Final = "flag"  # yes or no
CHOICE: Final = "choice"
TEXT: Final = "text"
SECRET: Final = "secret"  # only CONFIG GET prints it
OUTPUT_LIMITS: Final = "output limits"  # class, hard, soft, seconds; for one class or several
PERCENTILES: Final = "percentiles"  # numbers from 0 to 100 with blanks between them

_LONGEST_MEMORY: Final = 127  # digits, as in Redis; Python's int() refuses more than 4300
_MEMORY_UNITS: Final = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": KIB,
    "m": 1000_000,
    "mb": MIB,
    "g": 1000_000_000,
    "gb": 1024 * MIB,
}


@dataclass(frozen=True)
class Setting:
    name: str
    attribute: str
    kind: str
    unit: str
    default: Any
    low: int
    high: int
    runtime: bool  # CONFIG SET may change it
    choices: tuple[str, ...]
    aliases: tuple[str, ...]
    doc: str


class SettingError(Exception):
    """A value is wrong. The message is a clause in Redis' words where Redis has them."""


def _row(
    name: str,
    kind: str,
    unit: str,
    default: Any,
    low: int,
    high: int,
    runtime: bool,
    doc: str,
    choices: tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
) -> Any:
    return field(
        default=default,
        metadata={"row": (name, kind, unit, low, high, runtime, choices, aliases, doc)},
    )


def _number(
    name: str,
    default: int,
    low: int,
    high: int,
    doc: str,
    unit: str = "",
    runtime: bool = True,
    aliases: tuple[str, ...] = (),
) -> Any:
    return _row(name, NUMBER, unit, default, low, high, runtime, doc, aliases=aliases)


def _memory(
    name: str, default: int, low: int, doc: str, runtime: bool = True, high: int = _LONG_MAX
) -> Any:
    return _row(name, MEMORY, "bytes", default, low, high, runtime, doc)


def _flag(name: str, default: bool, doc: str, runtime: bool = True) -> Any:
    return _row(name, FLAG, "", default, 0, 0, runtime, doc)


def _choice(
    name: str, default: str, choices: tuple[str, ...], doc: str, runtime: bool = True
) -> Any:
    return _row(name, CHOICE, "", default, 0, 0, runtime, doc, choices=choices)


def _text(name: str, default: str, doc: str, runtime: bool = False) -> Any:
    return _row(name, TEXT, "", default, 0, 0, runtime, doc)


@dataclass(slots=True)
class Settings:
    # --- this node
    port: int = _number(
        "port", 6379, 0, 65535, "TCP port for clients; 0: any free one", runtime=False
    )
    bind: str = _text(
        "bind",
        "127.0.0.1 -::1",
        "addresses to listen on, blanks between them; a leading - : no error where the address "
        "does not exist; * : all",
    )
    az: str = _text("az", "", "name of the availability zone this node runs in")
    log: str = _text("log", "", "the shard's log: txlog://HOST:PORT,.../NAME or embedded:DIR")
    create_log: bool = _flag(
        "create-log",
        False,
        "make the log if its log nodes have none of that name; no: refuse to start, the name may "
        "be wrong",
        runtime=False,
    )
    announce_host: str = _text(
        "announce-host",
        "",
        "host that clients and other nodes are told; empty: the address bound to",
    )
    announce_port: int = _number(
        "announce-port",
        0,
        0,
        65535,
        "port that clients and other nodes are told; 0: port",
        runtime=False,
    )
    secret_file: str = _text(
        "secret-file", "", "file with the secret shared with the log nodes; empty: none"
    )
    log_without_secret: bool = _flag(
        "log-without-secret",
        False,
        "without secret-file, use log nodes on other machines: whatever answers at their "
        "addresses is believed",
        runtime=False,
    )
    log_level: str = _choice(
        "log-level",
        "info",
        ("debug", "info", "warning", "error"),
        "least severe event that is written",
        runtime=False,
    )
    log_format: str = _choice(
        "log-format",
        "auto",
        ("auto", "text", "json"),
        "how events are written; auto: text on a terminal, else json",
        runtime=False,
    )
    cluster_enabled: bool = _flag(
        "cluster-enabled", False, "speak Redis Cluster's protocol (one shard)", runtime=False
    )
    databases: int = _number("databases", 16, 1, 16384, "number of databases", runtime=False)
    # --- durability and roles
    lease_ms: int = _number(
        "lease-ms",
        1000,
        100,
        60_000,
        "how long the primary's lease runs without renewal",
        "milliseconds",
        runtime=False,
    )
    commit_timeout_ms: int = _number(
        "commit-timeout-ms",
        0,
        0,
        600_000,
        "an append without a majority for this long stops the lease's renewal; 0: lease-ms, or "
        "twice a slow disk's commit, at most 8 s",
        "milliseconds",
        runtime=False,
    )
    busy_limit_ms: int = _number(
        "busy-limit-ms",
        15_000,
        0,
        3_600_000,
        "longest single command that does not cost the primary its lease",
        "milliseconds",
        runtime=False,
    )
    strong_read_timeout_ms: int = _number(
        "strong-read-timeout-ms",
        1000,
        1,
        600_000,
        "a strong read at a replica gives up after this long",
        "milliseconds",
    )
    max_uncommitted_bytes: int = _memory(
        "max-uncommitted-bytes",
        64 * MIB,
        MIB,
        "effects executed and not yet committed; above it clients are not read, a larger unit is "
        "refused. How much is appended at once follows the commit rate",
    )
    max_held_bytes: int = _memory(
        "max-held-bytes",
        64 * MIB,
        64 * KIB,
        "replies that wait for a commit; above it the node stops reading from clients",
    )
    max_entry_bytes: int = _memory(
        "max-entry-bytes",
        4 * MIB,
        4 * KIB,
        "largest log entry; a larger execution unit is written as a run of entries",
        runtime=False,
        high=4 * MIB,
    )
    digest_interval_ms: int = _number(
        "digest-interval-ms",
        1000,
        0,
        3_600_000,
        "the primary logs a digest of a slice of its state this often, with few writes a tenth as "
        "often; 0: never",
        "milliseconds",
    )
    digest_slice_keys: int = _number(
        "digest-slice-keys",
        4096,
        16,
        1_000_000,
        "keys and members of collections in one slice; a thousand take about 0.5 ms",
    )
    digest_slice_bytes: int = _memory(
        "digest-slice-bytes",
        MIB,
        4 * KIB,
        "of keys and values in one slice; a MiB takes about a millisecond",
        high=64 * MIB,
    )
    # --- clients
    maxclients: int = _number("maxclients", 10_000, 1, _INT_MAX, "connections served at a time")
    timeout: int = _number(
        "timeout",
        0,
        0,
        _INT_MAX,
        "close a client that has been idle for this long; 0: never",
        "seconds",
    )
    tcp_keepalive: int = _number(
        "tcp-keepalive", 300, 0, _INT_MAX, "TCP keep-alive period; 0: off", "seconds"
    )
    tcp_backlog: int = _number(
        "tcp-backlog", 511, 0, _INT_MAX, "connections that may wait to be accepted", runtime=False
    )
    requirepass: str = _row(
        "requirepass", SECRET, "", "", 0, 0, True, "password of the user default; empty: none"
    )
    protected_mode: bool = _flag(
        "protected-mode",
        True,
        "without a password, refuse clients that do not come from this machine",
    )
    proto_max_bulk_len: int = _memory(
        "proto-max-bulk-len", 512 * MIB, MIB, "longest string a client may send or build"
    )
    client_query_buffer_limit: int = _memory(
        "client-query-buffer-limit",
        1024 * MIB,
        MIB,
        "most a client may send before it is a command",
    )
    client_output_buffer_limit: OutputLimits = _row(  # noqa: RUF009  as the other rows
        "client-output-buffer-limit",
        OUTPUT_LIMITS,
        "",
        DEFAULT,
        0,
        0,
        True,
        "close a client that leaves more than this unread: class, hard limit, soft limit, seconds "
        "above the soft limit; 0: no such limit. It applies above client-output-limit",
    )
    client_output_limit: int = _memory(
        "client-output-limit",
        64 * KIB,
        4 * KIB,
        "replies that a client has not read, above which no further command of it runs; for "
        "connections made later",
    )
    total_output_limit: int = _memory(
        "total-output-limit",
        512 * MIB,
        MIB,
        "replies that clients above client-output-limit have not read together; above it the one "
        "with the most is closed",
    )
    transaction_reply_limit: int = _memory(
        "transaction-reply-limit",
        128 * MIB,
        MIB,
        "replies of one transaction, above which its further commands that only read are answered "
        "with an error",
    )
    monitor_output_limit: int = _memory(
        "monitor-output-limit",
        8 * MIB,
        64 * KIB,
        "lines that a client in MONITOR has not read; above it the client is closed",
    )
    enable_debug_command: str = _choice(
        "enable-debug-command",
        "no",
        ("no", "yes", "local"),
        "who may call DEBUG; local: clients on this machine",
        runtime=False,
    )
    # --- background work, and how to observe it
    hz: int = _number(
        "hz", 10, 1, 500, "taken and without effect: background work runs ten times a second"
    )
    busy_reply_threshold_ms: int = _number(
        "busy-reply-threshold",
        5000,
        0,
        _LONG_MAX,
        "a script that runs longer lets others be told BUSY",
        "milliseconds",
        aliases=("lua-time-limit",),
    )
    slowlog_log_slower_than_us: int = _number(
        "slowlog-log-slower-than",
        10_000,
        -1,
        _LONG_MAX,
        "commands this slow go into SLOWLOG; -1: none",
        "microseconds",
    )
    slowlog_max_len: int = _number("slowlog-max-len", 128, 0, _LONG_MAX, "entries SLOWLOG keeps")
    latency_monitor_threshold_ms: int = _number(
        "latency-monitor-threshold",
        0,
        0,
        _LONG_MAX,
        "events this slow go into LATENCY; 0: none",
        "milliseconds",
    )
    latency_tracking: bool = _flag("latency-tracking", True, "keep LATENCY HISTOGRAM's numbers")
    latency_percentiles: str = _row(
        "latency-tracking-info-percentiles",
        PERCENTILES,
        "percent",
        "50 99 99.9",
        0,
        100,
        True,
        "percentiles in INFO latencystats",
    )
    # --- how OBJECT ENCODING names values, in Redis' words
    hash_max_listpack_entries: int = _number(
        "hash-max-listpack-entries",
        512,
        0,
        _LONG_MAX,
        "fields of a listpack hash",
        aliases=("hash-max-ziplist-entries",),
    )
    hash_max_listpack_value: int = _number(
        "hash-max-listpack-value",
        64,
        0,
        _LONG_MAX,
        "longest field or value in one",
        "bytes",
        aliases=("hash-max-ziplist-value",),
    )
    list_max_listpack_size: int = _number(
        "list-max-listpack-size",
        -2,
        -_INT_MAX - 1,
        _INT_MAX,
        "as in Redis",
        aliases=("list-max-ziplist-size",),
    )
    list_compress_depth: int = _number(
        "list-compress-depth", 0, 0, _INT_MAX, "taken and without effect"
    )
    set_max_intset_entries: int = _number(
        "set-max-intset-entries", 512, 0, _LONG_MAX, "members of an intset"
    )
    zset_max_listpack_entries: int = _number(
        "zset-max-listpack-entries",
        128,
        0,
        _LONG_MAX,
        "members of a listpack sorted set",
        aliases=("zset-max-ziplist-entries",),
    )
    zset_max_listpack_value: int = _number(
        "zset-max-listpack-value",
        64,
        0,
        _LONG_MAX,
        "longest member in one",
        "bytes",
        aliases=("zset-max-ziplist-value",),
    )
    hll_sparse_max_bytes: int = _memory(
        "hll-sparse-max-bytes", 3000, 0, "longest sparse HyperLogLog"
    )
    stream_node_max_bytes: int = _memory("stream-node-max-bytes", 4096, 0, "as in Redis")
    stream_node_max_entries: int = _number(
        "stream-node-max-entries", 100, 0, _LONG_MAX, "as in Redis"
    )
    # --- what clients ask for and what is constant here
    save: str = _choice(
        "save", "", ("",), "no snapshot is taken on a schedule: the log holds every write"
    )
    appendonly: str = _choice("appendonly", "yes", ("yes",), "every write is logged")
    appendfsync: str = _choice(
        "appendfsync",
        "always",
        ("always",),
        "every write is on disk in a majority of log nodes before it is acknowledged",
    )
    maxmemory: int = _memory("maxmemory", 0, 0, "there is no limit to the data", high=0)
    maxmemory_policy: str = _choice(
        "maxmemory-policy", "noeviction", ("noeviction",), "nothing is evicted"
    )
    # --- not a setting: where the settings came from, and what the system allows
    config_file: str = ""
    most_clients: int = _INT_MAX  # the number that the limit on open files allows


def _build() -> dict[str, Setting]:
    table: dict[str, Setting] = {}
    for f in fields(Settings):
        if "row" in f.metadata:
            name, kind, unit, low, high, runtime, choices, aliases, doc = f.metadata["row"]
            table[name] = Setting(
                name, f.name, kind, unit, f.default, low, high, runtime, choices, aliases, doc
            )
    return table


TABLE: Final = _build()
_NAMES: Final = {alias: row for row in TABLE.values() for alias in (row.name, *row.aliases)}


def all_names() -> list[str]:
    """Return every name of every setting, aliases included."""
    return list(_NAMES)


def find(name: str) -> Setting | None:
    return _NAMES.get(name.lower())


def parse_memory(text: str) -> int:
    """Return ``64mb`` as bytes. Raises SettingError."""
    digits = text.rstrip("bBkKmMgG")
    unit = _MEMORY_UNITS.get(text[len(digits) :].lower())
    if (
        unit is None
        or not digits.isascii()
        or not digits.isdigit()
        or len(digits) > _LONGEST_MEMORY
    ):
        raise SettingError("argument must be a memory value")
    return int(digits) * unit


def _memory_or_none(text: str) -> int | None:
    try:
        return parse_memory(text)
    except SettingError:
        return None


def parse(row: Setting, text: str, present: Any = None) -> Any:
    """Return the value that ``text`` means for this setting.
    Where the text does not name a part, the part of ``present`` holds (None: the default). Raises
    SettingError.
    """
    if row.kind == OUTPUT_LIMITS:
        limits, wrong = parse_limits(text, present or row.default, _memory_or_none)
        if wrong:
            raise SettingError(wrong)
        return limits
    if row.kind == FLAG:
        if text.lower() not in ("yes", "no"):
            raise SettingError("argument must be 'yes' or 'no'")
        return text.lower() == "yes"
    if row.kind == CHOICE:
        if text.lower() not in row.choices:
            raise SettingError(
                "argument(s) must be one of the following: "
                + ", ".join(c or '""' for c in row.choices)
            )
        return text.lower()
    if row.kind == PERCENTILES:
        return _percentiles(text)
    if row.kind in (TEXT, SECRET):
        return text
    if row.kind == MEMORY:
        value = parse_memory(text)
    else:
        number = parse_integer(text.encode("utf-8", "surrogateescape"))
        if number is None:
            raise SettingError("argument couldn't be parsed into an integer")
        value = number
    return bounded(row, value)


def bounded(row: Setting, value: int) -> int:
    """Return ``value`` if it is in the row's range. Raises SettingError."""
    if not row.low <= value <= row.high:
        raise SettingError(f"argument must be between {row.low} and {row.high} inclusive")
    return value


def _percentiles(text: str) -> str:
    for word in text.split():
        number = parse_double(word.encode("utf-8", "surrogateescape"))
        if number is None:
            raise SettingError("Invalid latency-tracking-info-percentiles parameters")
        if not 0 <= number <= 100:
            raise SettingError(
                "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"
            )
    return " ".join(text.split())


def shown(row: Setting, settings: Settings) -> str:
    """Return the setting's value as CONFIG GET prints it."""
    value = getattr(settings, row.attribute)
    if row.kind == FLAG:
        return "yes" if value else "no"
    return str(value)
