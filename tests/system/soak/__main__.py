"""`python -m tests.system.soak`, which is `make soak`: the command line of a soak.

Decides: what may be asked for.
Must not know: how it is done. Exit code 0 when every check passed.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import signal
import sys

from tests.system.soak.report import Report
from tests.system.soak.run import RATE, Plan, soak
from tests.system.soak.schedule import GROUPS, KINDS, kinds_of


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.system.soak", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument(
        "--seed", type=int, help="of the faults and of what clients ask; default: a new one"
    )
    parser.add_argument(
        "--faults",
        default="",
        help=f"kinds or groups of kinds, with commas; groups: {', '.join(GROUPS)}; kinds: "
        f"{', '.join(KINDS)}",
    )
    parser.add_argument(
        "--rate", type=int, default=RATE, help="operations a second while nothing is wrong"
    )
    parser.add_argument("--network", choices=("auto", "namespaces", "proxies"), default="auto")
    args = parser.parse_args()
    names = [name for name in args.faults.replace(" ", ",").split(",") if name]
    try:
        kinds = kinds_of(names) if names and names != ["none"] else [] if names else list(KINDS)
    except ValueError as error:
        parser.error(str(error))
    seed = args.seed if args.seed is not None else secrets.randbelow(1_000_000)
    plan = Plan(
        seconds=args.minutes * 60,
        seed=seed,
        kinds=tuple(kinds),
        rate=args.rate,
        network=args.network,
    )
    report = asyncio.run(_stoppable(plan))
    return 0 if report.passed else 1


async def _stoppable(plan: Plan) -> Report:
    """Let SIGTERM end the soak as Ctrl-C does: it takes everything down."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await soak(plan, lambda text: print(text, flush=True))


if __name__ == "__main__":
    sys.exit(main())
