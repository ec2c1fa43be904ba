"""The lease keeper's process: readings, sockets, and the end with its parent.

Decides: how it notices that the parent has ended or is stopped.
Must not know: when a renewal is due (`renewer` says); the primary's clients.

Life: `txlog.client.lease_keeper` starts it with the board as an inherited file, and a pipe as its
standard input. The pipe carries one line of JSON whenever the log nodes' addresses or the caller's
fields change; the secret also comes through it. The process ends at once when its parent ends: the
kernel sends SIGKILL (PR_SET_PDEATHSIG), the pipe closes, and the process compares the parent's id
before each question. It blocks the polite signals to a process group, because the parent may need
its lease until it has handed over.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import selectors
import signal
import sys
from typing import Any, Final

from txlog.clock import now_us
from txlog.lease_keeper.board import Board
from txlog.lease_keeper.node_link import UP, LogNodeAddress, NodeLink, hello_fields_of
from txlog.lease_keeper.renewer import Renewer, RenewRequest
from txlog.messages import Renew, Renewed
from txlog.wire import encode

POLITE: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
EXIT_NO_PARENT: Final = 3
EXIT_UNREADABLE: Final = 4
LONGEST_LINE_BYTES: Final = 1 << 20
_IDLE_S: Final = 0.1  # between two reads of the board while there is nothing to renew
_TICKS: Final = 12  # in a lease: it notices a stand-still with more than half of the lease left
_PR_SET_PDEATHSIG: Final = 1


def process_state(pid: int) -> str:
    """The kernel's letter for the state of a process' first thread. "": there is no such process,
    or its state cannot be read.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0].decode()
    except (OSError, IndexError):
        return ""


def end_with_parent(parent: int) -> None:
    """From now on this process ends when its parent ends."""
    ctypes.CDLL(None).prctl(ctypes.c_int(_PR_SET_PDEATHSIG), ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:
        sys.exit(EXIT_NO_PARENT)


class LeaseKeeperProcess:
    def __init__(self, board: Board, nodes: int, limit_us: int, parent: int, control: int) -> None:
        self._board = board
        self._renewer = Renewer(nodes, limit_us)
        self._parent = parent
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._links = [NodeLink(index, self._selector) for index in range(nodes)]
        self._input = b""
        self._incarnation = b""
        self._next_tick_us = 0
        os.set_blocking(control, False)
        self._selector.register(control, selectors.EVENT_READ, None)

    def run(self) -> None:
        """Run until the parent ends or closes the pipe."""
        while True:
            left_us = self._next_tick_us - now_us()
            for key, _ in self._selector.select(max(0.0, left_us / 1e6)):
                if key.data is None:
                    if not self._read_control():
                        return
                else:
                    self._read_line(key.data)
            if now_us() >= self._next_tick_us:
                self._tick()

    def _read_control(self) -> bool:
        """False: the parent has closed the pipe."""
        try:
            data = os.read(self._control, 1 << 16)
        except BlockingIOError:
            return True
        *lines, self._input = (self._input + data).split(b"\n")
        if not data or len(self._input) > LONGEST_LINE_BYTES:
            return False
        if lines:
            self._set_targets(json.loads(lines[-1]))
        return True

    def _set_targets(self, told: dict[str, Any]) -> None:
        words = hello_fields_of(told)
        self._incarnation = words.incarnation
        for line, place in zip(self._links, told["places"], strict=True):
            line.set_target(words, LogNodeAddress(*place) if place is not None else None)

    def _tick(self) -> None:
        board = self._board
        now = now_us()  # read before everything that a question depends on
        order = board.read_order()
        # also without an order: the loop may stand still right after it has given one
        for line in self._links:
            line.tick(now)
        board.keeper_beat(now)
        board.connected(sum(line.state == UP for line in self._links))
        state = process_state(self._parent) if os.getppid() == self._parent else ""
        question = self._renewer.on_tick(now, board.beat_us, board.lease_until_us, order, state)
        if question is not None:
            self._send(question)
        self._next_tick_us = now + (
            order.lease_ms * 1000 // _TICKS if order is not None else int(_IDLE_S * 1e6)
        )

    def _send(self, question: RenewRequest) -> None:
        order = question.order
        frame = encode(
            Renew(order.term, self._incarnation, order.ballot_id, order.lease_ms, question.number)
        )
        for line in self._links:
            line.send(frame)

    def _read_line(self, line: NodeLink) -> None:
        told = False
        for message in line.on_ready(now_us()):
            if isinstance(message, Renewed):
                told = (
                    self._renewer.on_renewed(
                        line.index, message.term, message.ballot_id, message.number
                    )
                    or told
                )
        if told and (answers := self._renewer.answers) is not None:
            self._board.answers(answers)


def main(arguments: list[str]) -> None:
    """``arguments``: the parent's process id, the board's file, the number of log nodes,
    the limit in milliseconds.
    """
    parent, file, nodes, limit_ms = map(int, arguments)
    signal.pthread_sigmask(signal.SIG_BLOCK, POLITE)
    end_with_parent(parent)
    if not process_state(parent):
        sys.stderr.write("txlog: the lease keeper cannot read the state of its parent in /proc\n")
        sys.exit(EXIT_UNREADABLE)
    board = Board(memoryview(mmap.mmap(file, Board.size(nodes))), nodes)
    LeaseKeeperProcess(board, nodes, limit_ms * 1000, parent, sys.stdin.fileno()).run()
