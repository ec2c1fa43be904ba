"""The compile step: all cores compile mypyc's C files, and a file with a kept object is skipped.

Decides: which files the C compiler gets, when a kept object is valid, in which order files compile.
Must not know: which modules are hot, packages and wheels.

An object is kept under the checksum of all its inputs: its text, the headers, the compiler and its
flags. If `ccache` is installed, compiler calls go through it, so another tree finds the objects
too.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from setuptools import Extension
from setuptools.command.build_ext import build_ext

from building.shims import shorten
from building.units import Header, aliases, cut

GROUP: Final = "memstore"  # of the library that holds all compiled modules, memstore__mypyc
OPT_LEVEL: Final = "2"
KEPT_OBJECTS: Final = 600  # about three builds
FLAGS: Final = ("-w", "-fvisibility=hidden", "-fno-common")
SHIM_FLAGS: Final = ("-w", "-O0")  # this code runs once an import
# ccache uses the checksum beside a precompiled header, because the header's bytes differ between
# trees
CCACHE: Final = {"CCACHE_SLOPPINESS": "pch_defines,time_macros", "CCACHE_PCH_EXTSUM": "1"}

C_FOLDER: Final = Path("build/c")


class CompileError(Exception):
    """The text is the C compiler's own output."""


def extensions(modules: Sequence[str]) -> list[Extension]:
    """mypyc's part: write C text for ``modules`` under C_FOLDER, and return the extensions to
    link.
    """
    from mypyc.build import mypycify

    options = ["--config-file=", "--ignore-missing-imports"]
    found: list[Extension] = mypycify(
        [*options, *modules],
        opt_level=OPT_LEVEL,
        debug_level="0",
        multi_file=True,
        target_dir=str(C_FOLDER),
        group_name=GROUP,
    )
    return found


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Compile(build_ext):
    """setuptools' build_ext for the extensions made here."""

    def build_extensions(self) -> None:
        if self.compiler.compiler_type != "unix":
            super().build_extensions()
            return
        copy_headers(self.extensions)
        if sys.platform.startswith("linux"):
            cut_units()
        shorten_shims(self.extensions)
        temp = Path(self.build_temp)
        build = Build(self.compiler, temp, self.include_dirs, self.extensions[0].extra_compile_args)
        sources = sorted(
            {source: ext for ext in self.extensions for source in ext.sources}.items(),
            key=lambda pair: -os.path.getsize(pair[0]),
        )
        with ThreadPoolExecutor(int(os.environ.get("MEMSTORE_COMPILE_JOBS") or cores())) as pool:
            build.prepare()
            objects = dict(
                zip(
                    (source for source, _ in sources),
                    pool.map(lambda pair: build.object(*pair), sources),
                    strict=True,
                )
            )
            links = [
                (self.get_ext_fullpath(ext.name), [objects[source] for source in ext.sources])
                for ext in self.extensions
            ]
            list(pool.map(lambda link: build.link(*link), links))
        build.finish()


def copy_headers(exts: Sequence[Extension]) -> None:
    """Copy mypyc's own headers to its C files. Then commands name no folder of this environment,
    and ccache finds what another tree compiled.
    """
    from mypyc.build import include_dir

    own = include_dir()
    for path in Path(own).glob("*.[ch]"):
        target = C_FOLDER / path.name
        if not target.exists() or target.read_bytes() != path.read_bytes():
            shutil.copyfile(path, target)
    for ext in exts:
        ext.include_dirs = [folder for folder in ext.include_dirs if folder != own]


def cut_units() -> None:
    """Cut mypyc's C files into texts that do not change with other modules (`building.units`). Only
    where the assembler has ELF's directives.
    """
    header = Header(
        *(
            (C_FOLDER / name).read_text()
            for name in (f"__native_{GROUP}.h", f"__native_internal_{GROUP}.h")
        )
    )
    numbers: dict[str, int] = {}
    for path in C_FOLDER.glob("__native_*___*.c"):
        text, own = cut(path.stem.removeprefix("__native_"), path.read_text(), header)
        numbers.update(own)
        path.write_text(text)
    main = C_FOLDER / f"__native_{GROUP}.c"
    main.write_text(main.read_text() + aliases(numbers))


def shorten_shims(exts: Sequence[Extension]) -> None:
    """Make one common C file for the code that makes a module importable (`building.shims`)."""
    shims = [ext for ext in exts if ext.name != f"{GROUP}__mypyc"]
    texts = {ext.sources[0]: Path(ext.sources[0]).read_text() for ext in shims}
    short = shorten(texts, f"{GROUP}__mypyc") if texts else None
    if short is None:
        return  # another version of mypyc: compile them unchanged
    start = C_FOLDER / "start.c"
    start.write_text(short[0])
    for ext in shims:
        Path(ext.sources[0]).write_text(short[1][ext.sources[0]])
        ext.sources.append(str(start))


class Build:
    """One run of the C compiler over many files. It can use the objects of earlier runs."""

    def __init__(
        self, compiler: Any, temp: Path, include_dirs: Sequence[str], flags: Sequence[str]
    ) -> None:
        self._flags = flags
        self._compile: list[str] = list(compiler.compiler_so)
        self._link: list[str] = list(compiler.linker_so)
        # an environment's own folder has no headers
        self._include = [
            f"-I{folder}" for folder in include_dirs if next(Path(folder).glob("*.h"), None)
        ]
        self._ccache = [found] if (found := shutil.which("ccache")) else []
        self._objects = temp / "objects"
        self._links_file = temp / "links.json"
        self._links: dict[str, str] = (
            json.loads(self._links_file.read_text()) if self._links_file.exists() else {}
        )
        self._headers: list[str] = []
        version = subprocess.run(
            [self._compile[0], "--version"], capture_output=True, text=True, check=False
        ).stdout
        own = b"".join(path.read_bytes() for path in sorted(C_FOLDER.glob("*.h")) if is_mypyc(path))
        about = [version, *self._compile, *self._include, sys.version]
        self._about = "\n".join([*about, hashlib.sha256(own).hexdigest()])
        self.compiled = 0

    def prepare(self) -> None:
        """Read Python's and mypyc's headers once instead of once a file."""
        self._objects.mkdir(parents=True, exist_ok=True)
        source = self._objects.parent / "python.h"
        compiled, sum_file = Path(f"{source}.gch"), Path(f"{source}.gch.sum")
        # ccache needs the header's name in the preprocessor's output
        shown = ["-fpch-preprocess"] if self._ccache else []
        flags = [f"-I{C_FOLDER}", *self._flags, *FLAGS, *shown]
        command = [*self._compile, *self._include, *flags]
        checksum = hashlib.sha256("\n".join([self._about, *command]).encode()).hexdigest()
        if not compiled.exists() or not sum_file.exists() or sum_file.read_text() != checksum:
            source.write_text("#include <Python.h>\n#include <CPy.h>\n")
            try:
                run([*command, "-x", "c-header", str(source), "-o", str(compiled)])
            except CompileError:
                return  # this compiler has no precompiled headers: compile without
            sum_file.write_text(checksum)
        self._headers = ["-include", str(source), *shown]

    def object(self, source: str, ext: Extension) -> Path:
        own = ext.name == f"{GROUP}__mypyc"
        flags = [*ext.extra_compile_args, *(FLAGS if own else SHIM_FLAGS)]
        include = [f"-I{folder}" for folder in ext.include_dirs]
        key = hashlib.sha256(
            b"\0".join(
                [
                    Path(source).read_bytes(),
                    self._about.encode(),
                    "\n".join(flags).encode(),
                    self._generated(source, ext),
                ]
            )
        )
        target = self._objects / f"{Path(source).stem}-{key.hexdigest()[:24]}.o"
        if target.exists():
            os.utime(target)
            return target
        fresh = target.with_suffix(".part.o")
        run(
            [
                *(self._ccache if own else []),
                *self._compile,
                *self._include,
                *include,
                *(self._headers if own else []),
                "-c",
                source,
                "-o",
                str(fresh),
                *flags,
            ]
        )
        fresh.replace(target)
        self.compiled += 1
        return target

    def _generated(self, source: str, ext: Extension) -> bytes:
        """The headers of this build, if ``source`` includes any of them; then all of them."""
        text = Path(source).read_text()
        return (
            b"".join(
                Path(header).read_bytes() for header in ext.depends if Path(header).suffix == ".h"
            )
            if '#include "__native_' in text
            else b""
        )

    def link(self, target: str, objects: Sequence[Path]) -> None:
        key = hashlib.sha256("\n".join([*self._link, *map(str, objects)]).encode()).hexdigest()
        if self._links.get(target) == key and Path(target).exists():
            return
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        run([*self._link, *map(str, objects), "-o", target])
        self._links[target] = key

    def finish(self) -> None:
        self._links_file.write_text(json.dumps(self._links, indent=0))
        kept = sorted(
            self._objects.glob("*.o"), key=lambda path: path.stat().st_mtime, reverse=True
        )
        for path in kept[KEPT_OBJECTS:]:
            path.unlink()
        print(f"{self.compiled} of {len(kept[:KEPT_OBJECTS])} objects compiled")


def is_mypyc(header: Path) -> bool:
    """Whether it is one of mypyc's own headers, not one of this build."""
    return not header.name.startswith("__native_")


def run(command: Sequence[str]) -> None:
    """Run the command. Raises `CompileError`."""
    environment = {**CCACHE, **os.environ}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise CompileError(f"{' '.join(command)}\n{done.stderr or done.stdout}")
