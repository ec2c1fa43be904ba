"""Redis' own test suite (7.0.15) against a local cluster: `make suite`, or `python -m
tests.system.redis_suite [--port P] [--out DIR] [UNIT ...]`.

Decides: which units run, with which tags, what counts as a failure.
Must not know: what the tests test. The suite is Redis' (BSD licence) and is not kept here: unpack
the source of 7.0.15 (`apt-get source redis` in Debian 12) into the folder that REDIS_SUITE_HOME
names; it needs tclsh. It empties the server's databases. Tests that are not run, and why:
tests/redis-suite-skip.txt. A unit that stops half-way or takes longer than --unit-s counts as a
failure.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.ports import free_ports
from tests.system.cluster import REPOSITORY, Cluster

UNITS = [
    "unit/type/hash", "unit/type/list", "unit/type/list-3", "unit/type/set", "unit/type/zset",
    "unit/type/string", "unit/type/incr", "unit/expire", "unit/keyspace", "unit/scan", "unit/multi",
    "unit/protocol", "unit/sort",
]  # fmt: skip
TAGS = "-slow -needs:repl -needs:save -needs:reset -external:skip -cluster:skip -cli -large-memory"
SKIPS = REPOSITORY / "tests" / "redis-suite-skip.txt"
# unit/type/list and unit/type/set leave these at 10 GB. unit/protocol then waits for its error
# without end, on a real redis-server too.
LEFT_BEHIND = {"proto-max-bulk-len": 512 << 20, "client-query-buffer-limit": 1 << 30}
PORTS = 64  # number of the suite's own ports, which start 32 below the base


@dataclass
class Outcome:
    ok: int
    failed: list[str]
    skipped: int


def read_log(text: str, code: int) -> Outcome:
    """Read a unit's output. A unit that ended badly without a report of it has failed too."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in text.splitlines()]
    kinds = [
        (match[1], match[2])
        for line in lines
        if (match := re.match(r"\[(ok|err|exception|skip)\]: (.*)", line))
    ]
    failed = [text for kind, text in kinds if kind in ("err", "exception")]
    if code and not failed:
        failed = [f"ended with {code}: {' '.join(lines[-3:])}"]
    return Outcome(
        sum(kind == "ok" for kind, _ in kinds), failed, sum(kind == "skip" for kind, _ in kinds)
    )


def read_skips(text: str) -> dict[str, str]:
    """Test name -> reason: the text after the # above it, in the same paragraph."""
    found: dict[str, str] = {}
    for paragraph in text.split("\n\n"):
        reason = ""
        for line in paragraph.splitlines():
            if line.startswith("#"):
                reason = line[1:].strip()
            elif line in found:
                raise ValueError(f"twice: {line}")
            else:
                found[line] = reason
    return found


def source() -> Path | None:
    """The unpacked source, or None."""
    home = os.environ.get("REDIS_SUITE_HOME", "")
    found = sorted(Path(home).glob("redis-*/tests/test_helper.tcl")) if home else []
    return found[-1].parents[1] if found else None


def run_unit(folder: Path, port: int, unit: str, log: Path, bound_s: float) -> Outcome:
    command = [
        "tclsh",
        "tests/test_helper.tcl",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--baseport",
        str(free_ports(PORTS) + 32),
    ]
    command += ["--single", unit, "--tags", TAGS, "--skipfile", str(SKIPS)]
    with log.open("wb") as out:
        child = subprocess.Popen(
            command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = child.wait(bound_s)
        except subprocess.TimeoutExpired:
            code = -1
        finally:
            with contextlib.suppress(ProcessLookupError):  # its clients are separate processes
                os.killpg(child.pid, 9)
            child.wait()
    return read_log(log.read_text(errors="replace"), code)


@contextlib.contextmanager
def server(port: int) -> Iterator[int]:
    """Give the named port, or the port of a cluster's primary."""
    if port:
        yield port
    else:
        with Cluster() as cluster:
            yield cluster.wait_primary().port


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.system.redis_suite",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("units", nargs="*", default=UNITS)
    parser.add_argument(
        "--port",
        type=int,
        default=0,
        help="a server that runs already; otherwise a local cluster is started",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=REPOSITORY / "build" / "suite",
        help="where the units' output goes",
    )
    parser.add_argument("--unit-s", type=float, default=900.0, help="bound of one unit, seconds")
    args = parser.parse_args(argv)
    folder = source()
    if folder is None or shutil.which("tclsh") is None:
        what = (
            "tclsh is not installed (Debian, Ubuntu: apt-get install tcl)"
            if folder
            else "REDIS_SUITE_HOME names no folder with Redis' source (redis-7.0.15/)"
        )
        print(
            f"suite: {what}; the head of tests/system/redis_suite.py says what is needed",
            file=sys.stderr,
        )
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    total = Outcome(0, [], 0)
    with server(args.port) as port:
        client = redis.Redis(port=port)
        for unit in args.units or UNITS:
            for name, value in LEFT_BEHIND.items():
                client.config_set(name, value)
            found = run_unit(
                folder, port, unit, args.out / f"{unit.replace('/', '_')}.log", args.unit_s
            )
            print(
                f"{unit:<20} ok={found.ok} err={len(found.failed)} skipped={found.skipped}",
                *found.failed,
                sep="\n    ",
                flush=True,
            )
            total = Outcome(
                total.ok + found.ok, total.failed + found.failed, total.skipped + found.skipped
            )
    print(f"{'TOTAL':<20} ok={total.ok} err={len(total.failed)} skipped={total.skipped}")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
