"""A request to an engine node over RESP: connect, ask, answer, all within a time limit.

Decides: how `memstore status`, `memstore health` and `memstore local` talk to a node, and how INFO
becomes a dict.
Must not know: what answers are for. An error reply is a value (`hiredis.ReplyError`). If a node
does not answer in time, `NoAnswer` has one clear line.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, Final

import hiredis

from txlog.resolver import RESOLVER

READ_BYTES: Final = 64 * 1024
# INFO and the like are some KB: a node of ours never sends more
ANSWER_BYTES: Final = 4 * 1024 * 1024


class NoAnswer(Exception):
    """The node did not answer; the text is one line."""


def encode(*args: str | bytes) -> bytes:
    parts = [arg.encode() if isinstance(arg, str) else arg for arg in args]
    return b"".join(
        [b"*%d\r\n" % len(parts), *(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)]
    )


class RespClient:
    """One connection to one node, opened when first needed and again after it broke."""

    def __init__(self, host: str, port: int, password: str = "", timeout_ms: int = 1000) -> None:
        self.host = host
        self.port = port
        self._password = password
        self._timeout = timeout_ms / 1000
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, *commands: tuple[str, ...]) -> list[Any]:
        """The replies to ``commands``, in order. Raises `NoAnswer`."""
        try:
            async with asyncio.timeout(self._timeout):
                if self._streams is None:
                    self._streams = await RESOLVER.open_streams(self.host, self.port, self._timeout)
                    if self._password:
                        (answer,) = await self._exchange(("AUTH", self._password))
                        if isinstance(answer, hiredis.ReplyError):
                            raise NoAnswer(
                                f"{self.host}:{self.port} refuses the password: {answer}"
                            )
                return await self._exchange(*commands)
        except TimeoutError:
            raise self._failed("does not answer") from None
        except OSError as error:
            why = reason(error).removeprefix(f"{self.host}: ")
            raise self._failed(f"cannot be reached: {why}") from None
        except (EOFError, hiredis.ProtocolError) as error:
            raise self._failed(
                f"does not speak RESP: {error}"
                if isinstance(error, hiredis.ProtocolError)
                else "closed the connection"
            ) from None
        except BaseException:
            self.close()  # a half-read reply must not be taken for the next answer
            raise

    def _failed(self, why: str) -> NoAnswer:
        self.close()
        return NoAnswer(f"{self.host}:{self.port} {why}")

    async def _exchange(self, *commands: tuple[str, ...]) -> list[Any]:
        assert self._streams is not None
        reader, writer = self._streams
        writer.write(b"".join(encode(*command) for command in commands))
        await writer.drain()
        parser = hiredis.Reader()
        answers: list[Any] = []
        received = 0
        while len(answers) < len(commands):
            data = await reader.read(READ_BYTES)
            received += len(data)
            if not data:
                raise EOFError
            if received > ANSWER_BYTES:
                raise hiredis.ProtocolError("endless answer")
            parser.feed(data)
            while (answer := parser.gets()) is not False:
                answers.append(answer)
        return answers

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def reason(error: OSError) -> str:
    """The error's text, without the address that the caller already names."""
    if error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)  # the resolver's errors have their own numbers


def parse_info(text: bytes) -> dict[str, str]:
    """INFO's ``name:value`` lines."""
    pairs = (
        line.partition(":")
        for line in text.decode("utf-8", "replace").splitlines()
        if ":" in line and not line.startswith("#")
    )
    return {name: value for name, _, value in pairs}
