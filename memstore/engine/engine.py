"""The engine: a keyspace, its command table, and the way from argv to a reply.

Decides: which row an argv means, arity, the reply to an unknown command, how effects are applied.
Must not know: roles, positions, sockets, clocks.

It is deterministic: the same calls with the same times and the same random generator give the same
bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, Protocol

import hiredis

from memstore.engine import access, monitor, reply
from memstore.engine.command import ADMIN, FAST, SKIP_MONITOR, SKIP_SLOWLOG, WRITE, Row
from memstore.engine.context import IGNORE_EXPIRED, Context
from memstore.engine.facts import Facts
from memstore.engine.keyspace import Keyspace
from memstore.engine.latency import QUICK_US, Latency
from memstore.engine.requests import PAUSE_ALL as PAUSE_ALL
from memstore.engine.requests import PAUSE_NONE as PAUSE_NONE
from memstore.engine.requests import PAUSE_WRITE as PAUSE_WRITE
from memstore.engine.requests import Request
from memstore.engine.session import Session
from memstore.engine.settings import Settings
from memstore.engine.slowlog import Slowlog
from memstore.engine.state_digest import Slice, slice_digest
from memstore.engine.transaction import end_transaction
from memstore.engine.values import parse_integer
from memstore.engine.watched_keys import WatchedKeys

MAX_ERROR_CODES: Final = 128
APPLY_PIECE: Final = 16 * 1024  # bytes
_MINUS: Final = 0x2D  # an error reply's first byte


def _no_clock() -> int:
    return 0


class UnitObserver(Protocol):
    """An observer of every unit that changes memory."""

    def after_unit(self, changed: list[bytes | tuple[int, bytes]], position: int) -> None: ...


class HalfDone(Exception):
    """A write command ended in a program error: memory may hold what the log does not.
    The node must end.
    """


class ApplyError(Exception):
    """An effect of the log did not apply: the node's state no longer follows the log."""


class Engine:
    __slots__ = (
        "active_expire", "clock_us", "context", "error_counts", "expired_keys", "facts", "internal",
        "keyspace", "latency", "monitor_lines", "monitors", "observers", "pause_mode",
        "pause_until_ms", "requests", "rng", "sessions", "settings", "shutting_down", "slowlog",
        "table", "watched",
    )  # fmt: skip

    def __init__(self, settings: Settings, rng: Random, table: dict[bytes, Row]) -> None:
        """``table`` belongs to this engine only, as `memstore.commands.build_table` makes it."""
        self.settings = settings
        self.rng = rng
        self.keyspace = Keyspace(settings.databases)
        self.table = table
        self.sessions: dict[int, Session] = {}
        self.watched = WatchedKeys()
        self.observers: list[UnitObserver] = []  # usually empty, and checked before `after_unit`
        # What the node knows about itself and its shard, for INFO and the like. The shard and the
        # driver write it.
        self.facts = Facts()
        # What commands ask of the node (close a client, hand over, ...). The driver takes it after
        # a batch.
        self.requests: list[Request] = []
        self.expired_keys = 0
        self.slowlog = Slowlog()
        self.latency = Latency()
        self.active_expire = True  # DEBUG SET-ACTIVE-EXPIRE
        # error code ("ERR", "WRONGTYPE") -> how often; at most MAX_ERROR_CODES of them
        self.error_counts: dict[str, int] = {}
        self.pause_mode = PAUSE_NONE  # CLIENT PAUSE
        self.pause_until_ms = 0  # wall time
        self.shutting_down = False
        # for the statistics of commands inside a transaction; the driver sets it
        self.clock_us: Callable[[], int] = _no_clock
        # sessions in MONITOR; while there are any, no command runs on the fast path
        self.monitors: list[Session] = []
        # what the node sends to them; the driver takes it after a batch
        self.monitor_lines: list[tuple[Session, bytes]] = []
        self.context = Context(self, self.keyspace, rng)
        self.internal = Session(0)

    def find(self, argv: list[bytes]) -> Row | bytes:
        """Return the row for ``argv`` with its arity checked, or the encoded error.
        The context is bound to the session that sent the command.
        """
        row = self.table.get(argv[0]) or self.table.get(argv[0].upper())
        if row is None:
            return unknown_command(argv)
        if row.container and len(argv) > 1:
            sub = row.subcommands.get(argv[1].upper())
            if row.name == b"DEBUG" and not access.may_debug(self.settings, self.context.session):
                return reply.error(access.DEBUG_REFUSED)
            if sub is None:
                return unknown_subcommand(row, argv)
            row = sub
        if not row.fits(len(argv)):
            return wrong_arity(row)
        return row

    def call(self, row: Row, argv: list[bytes]) -> bytes | None:
        """Run the handler in the bound context; its errors become replies."""
        row.calls += 1
        try:
            return row.handler(self.context, argv)
        except reply.CommandError as error:
            return self.failed(row, error)
        except Exception as bug:
            found = self.broken(row, bug)
            if found is bug:
                raise
            raise found from bug

    def call_queued(self, row: Row, argv: list[bytes]) -> bytes | None:
        """Run a command of a transaction; monitors and statistics see it like any other."""
        session, before_us = self.context.session, self.clock_us()
        if session.restricted and (error := access.refusal(session, row, argv)) is not None:
            row.rejected += 1
            self.count_error(error)
            return error
        answer = self.call(row, argv)
        self.note_time(row, session, argv, self.clock_us() - before_us)
        if self.monitors and not row.flags & (SKIP_MONITOR | ADMIN):
            self.feed_monitors(session, argv)
        return answer

    def broken(self, row: Row, bug: Exception) -> Exception:
        """Return the exception to raise for an unexpected error of a handler.
        The error of a command that only reads closes its client. Any other error ends the node.
        """
        if not isinstance(bug, HalfDone) and (
            row.flags & WRITE or row.name == b"EXEC" or self.context.unit
        ):
            half = HalfDone(f"{reply.text(row.name)}: {type(bug).__name__}: {bug}")
            half.__cause__ = bug  # compiled code drops the cause given after ``from``
            return half
        return bug

    def failed(self, row: Row, error: reply.CommandError) -> bytes:
        """Count ``error``, which ended a command of ``row``, and returns its reply."""
        row.failed += 1
        answer = reply.error(str(error))
        self.count_error(answer)
        return answer

    def count_error(self, answer: bytes) -> None:
        """Count an error reply by its code, for INFO errorstats."""
        code = reply.text(answer[1:-2].split(b" ", 1)[0])
        if code in self.error_counts or len(self.error_counts) < MAX_ERROR_CODES:
            self.error_counts[code] = self.error_counts.get(code, 0) + 1

    def paused(self, writes: bool) -> bool:
        """Return True if CLIENT PAUSE makes a command wait."""
        if self.pause_mode == PAUSE_NONE or self.context.wall_ms >= self.pause_until_ms:
            return False
        return writes or self.pause_mode == PAUSE_ALL

    def forget(self, session: Session) -> None:
        """The client is gone: drop every reference to it here."""
        self.sessions.pop(session.id, None)
        if session in self.monitors:
            self.monitors.remove(session)
        end_transaction(self, session)

    def after_unit(self, changed: list[bytes | tuple[int, bytes]], position: int) -> None:
        """A unit has changed memory. The log has it at ``position`` or will have it there.
        Each path that changes memory calls this while there are observers: the shard when it closes
        a unit (fast loop, slow path, EXEC, expiry), and `apply`.
        """
        for observer in self.observers:
            observer.after_unit(changed, position)

    def feed_monitors(self, session: Session, argv: list[bytes]) -> None:
        """Note the command for every session in MONITOR, in Redis' words."""
        line = monitor.line(self.context.wall_ms * 1000, session.db, session.address, argv)
        self.monitor_lines += [(watcher, line) for watcher in self.monitors]

    def note_time(
        self, row: Row, session: Session, argv: list[bytes], us: int, calls: int = 1
    ) -> None:
        """Note a time in the statistics, SLOWLOG and LATENCY.
        ``calls`` commands of ``row`` (or a pipelined batch that ends in it) took ``us``
        microseconds together.
        """
        row.usec += us
        each = us // calls
        settings = self.settings
        if settings.latency_tracking:
            row.histogram = self.latency.note_call(row.name, each, calls)
        if each < QUICK_US and each < settings.slowlog_log_slower_than_us:
            return
        wall_ms = self.context.wall_ms
        if not row.flags & SKIP_SLOWLOG:
            self.slowlog.note(argv, each, wall_ms, session, settings)
        if 0 < settings.latency_monitor_threshold_ms <= each // 1000:
            self.latency.note_event(
                b"fast-command" if row.flags & FAST else b"command", each // 1000, wall_ms
            )

    def apply(self, payload: bytes, wall_ms: int, position: int = 0) -> int:
        """Apply the effects of the entry at ``position`` (or of several entries, joined) in one
        go.
        Returns the number of effects. Raises `ApplyError` when an effect does not apply.
        """
        context, internal, find = self.context, self.internal, self.table.get
        reader = hiredis.Reader()
        gets = reader.gets
        internal.db = 0
        context.bind(internal, wall_ms)
        expiry, context.expiry = context.expiry, IGNORE_EXPIRED
        count, observers, in_unit = 0, self.observers, False
        try:
            # Fed in pieces: the parser moves all the rest each time it has used up a kilobyte.
            for at in range(0, len(payload), APPLY_PIECE):
                reader.feed(payload, at, min(APPLY_PIECE, len(payload) - at))
                while (argv := gets()) is not False:
                    row = find(argv[0])
                    if row is None or not row.flags & WRITE:
                        in_unit = self._apply_frame(argv, in_unit)
                    else:
                        result = row.handler(context, argv)
                        if result is not None and result[0] == _MINUS:
                            raise ApplyError(f"{reply.text(row.name)}: {reply.text(result[1:-2])}")
                        count += 1
                    if observers and not in_unit:
                        self.after_unit(context.changed, position)
                        del context.changed[:]
                del context.unit[:]  # drop what handlers note for the log
                if not (observers and in_unit):  # a unit may go on in the next piece
                    del context.changed[:]
        except (reply.CommandError, hiredis.ProtocolError, IndexError, ValueError) as error:
            raise ApplyError(f"{type(error).__name__}: {error}") from error
        finally:
            context.expiry = expiry
            del context.unit[:], context.changed[:], context.changed_all[:]
            context.unit_db = 0
        if reader.has_data():
            raise ApplyError("an effect is cut off")
        return count

    def digest(self, piece: Slice) -> bytes:
        """Return the digest of a slice of the state, as a DIGEST entry names it."""
        return slice_digest(self.keyspace, piece)

    def _apply_frame(self, argv: list[bytes], in_unit: bool) -> bool:
        """Handle what is between the effects: the selected database, and the bounds of a unit.
        Returns True if a unit of several effects is open after this frame.
        """
        name = argv[0]
        if name == b"SELECT" and len(argv) == 2:
            index = parse_integer(argv[1])
            if index is None or not 0 <= index < len(self.keyspace.databases):
                raise ApplyError(f"SELECT {reply.text(argv[1][:20])}: no database of this node")
            self.internal.db = index
            self.context.database = self.keyspace.database(index)
            return in_unit
        if name not in (b"MULTI", b"EXEC"):
            raise ApplyError(f"{reply.text(name)} is no effect")
        return name == b"MULTI"


def unknown_command(argv: list[bytes]) -> bytes:
    shown, room = [], 128
    for arg in argv[1:]:
        if room <= 0:
            break
        piece = arg[:room]
        room -= len(piece) + 3
        shown.append(f"'{reply.text(piece)}' ")
    return reply.error(
        f"ERR unknown command '{reply.text(argv[0][:128])}', with args beginning with: "
        f"{''.join(shown)}"
    )


def unknown_subcommand(row: Row, argv: list[bytes]) -> bytes:
    return reply.error(
        f"ERR unknown subcommand '{reply.text(argv[1][:128])}'. Try {reply.text(row.name)} HELP."
    )


def wrong_arity(row: Row) -> bytes:
    return reply.error(
        f"ERR wrong number of arguments for '{reply.text(row.name.lower())}' command"
    )
