"""Whether a build compiles the hot modules: depends on `MEMSTORE_COMPILE` and on this machine.

Decides: the meaning of `MEMSTORE_COMPILE` (0: never; 1, the default: where it is possible; require:
the build fails where it is not), and which commands compile.
Must not know: how modules are compiled.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

VARIABLE: Final = "MEMSTORE_COMPILE"
CHOICES: Final = ("0", "1", "require")
# An editable install stays interpreted: an edited file must not be shadowed by an old binary.
# Commands for metadata need no compiler.
COMPILING_COMMANDS: Final = frozenset(("bdist", "bdist_wheel", "build", "build_ext", "install"))
PROBE: Final = "#include <Python.h>\nint memstore_probe(void) { return Py_IsInitialized(); }\n"


def choice() -> str:
    given = os.environ.get(VARIABLE) or "1"
    if given not in CHOICES:
        raise SystemExit(f"{VARIABLE} must be one of {', '.join(CHOICES)}, not {given!r}")
    return given


def compiler() -> list[str]:
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")


def no_compiler() -> str:
    """The reason in one line why this machine cannot compile C code for this Python; "" if it
    can.
    """
    if platform.python_implementation() != "CPython":
        return f"{platform.python_implementation()} runs no compiled modules"
    command = compiler()
    if shutil.which(command[0]) is None:
        return f"there is no C compiler ({command[0]})"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.c"
        source.write_text(PROBE)
        include = [f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude")]
        done = subprocess.run(
            [
                *command,
                "-shared",
                "-fPIC",
                *include,
                str(source),
                "-o",
                str(source.with_suffix(".so")),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode and "Python.h" in done.stderr:
        return "Python's headers are missing (Debian, Ubuntu: apt-get install python3-dev)"
    return (
        f"the C compiler {command[0]} does not work: {done.stderr.strip().splitlines()[:1]}"
        if done.returncode
        else ""
    )


def no_mypyc() -> str:
    return "" if find_spec("mypyc") else "mypyc is not installed (pip install 'memstore[compile]')"


def notice(reason: str) -> None:
    print(
        f"\n*** memstore is built without compiled modules: {reason}.\n*** It works, and is "
        f"slower. {VARIABLE}=require makes this an error.\n",
        file=sys.stderr,
    )


def wants_extensions(commands: Sequence[str]) -> bool:
    """Whether a setup.py with these commands compiles. Raises `SystemExit` where compiled modules
    are required and cannot be made.
    """
    given = choice()
    if given == "0" or not COMPILING_COMMANDS.intersection(commands):
        return False
    reason = no_compiler() or no_mypyc()
    if reason and given == "require":
        raise SystemExit(f"memstore: {VARIABLE}=require, but {reason}")
    if reason:
        notice(reason)
    return not reason
