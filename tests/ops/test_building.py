"""How memstore is built: the C files, the wheels, and the messages where there is no compiler.

Decides: which builds the tests try. Each build works on a copy of the repository. Where mypyc runs,
the list has two modules, so that it takes seconds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.ops.running import ROOT

pytest.importorskip("building", reason="the compiled tree is not built from")

from building import choice
from building.modules import hot_modules
from building.units import Header, cut, own_names

HEADER = """#ifndef GUARD
#define GUARD
#include <Python.h>
#include "__native_memstore.h"
#ifndef MYPYC_DECLARED_tuple_T2OI
#define MYPYC_DECLARED_tuple_T2OI
typedef struct tuple_T2OI {
    PyObject *f0;
} tuple_T2OI;
#endif

typedef struct {
    PyObject_HEAD
    tuple_T2OI _pair;
} thingObject;

extern PyObject *CPyStatics[20];
extern thingObject *CPyDef_a___make(PyObject *cpy_r_self);
extern PyObject *CPyDef_b___other(void);
extern char CPyDef_c_____top_level__(void);
something of a later mypyc;
#endif
"""
BODY = """#include "__native_memstore.h"
#include "__native_internal_memstore.h"
int f(void) { CPyDef_a___make(CPyStatics[7]); use(CPyStatics[12], CPyStatics[7]); return 0; }
"""


def test_a_module_gets_the_declarations_it_names_and_what_those_name() -> None:
    text, numbers = cut("m", BODY, Header(HEADER))
    for wanted in (
        "#include <Python.h>",
        "tuple_T2OI",
        "thingObject",
        "CPyDef_a___make(PyObject",
        "something of a later mypyc;",
    ):
        assert wanted in text
    for unwanted in ("CPyDef_b___other", "top_level", "__native_", "CPyStatics["):
        assert unwanted not in text
    assert numbers == {"CPyStatic0_of_m": 7, "CPyStatic1_of_m": 12}


def test_another_modules_literals_and_functions_change_nothing() -> None:
    more = HEADER.replace("CPyStatics[20]", "CPyStatics[21]").replace(
        "extern char", "extern PyObject *CPyDef_b___new(void);\nextern char"
    )
    shifted = BODY.replace("[7]", "[8]").replace("[12]", "[13]")
    assert cut("m", BODY, Header(HEADER))[0] == cut("m", shifted, Header(more))[0]
    changed = HEADER.replace("tuple_T2OI _pair", "tuple_T2OI _pair; PyObject *more")
    assert cut("m", BODY, Header(HEADER))[0] != cut("m", BODY, Header(changed))[0], (
        "a class it uses has another layout"
    )


def test_literals_of_two_modules_have_different_names() -> None:
    assert not own_names("a", "CPyStatics[1]")[1].keys() & own_names("b", "CPyStatics[1]")[1].keys()


def test_the_list_names_files() -> None:
    listed = hot_modules()
    assert len(listed) > 70
    assert len(set(listed)) == len(listed)
    assert [name for name in listed if not (ROOT / name).is_file()] == []


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in ("memstore", "txlog", "building"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.so")
        )
    for name in (
        "pyproject.toml",
        "setup.py",
        "README.md",
        "LICENSE",
        "MANIFEST.in",
        "Makefile",
        "constraints.txt",
    ):
        shutil.copy(ROOT / name, folder / name)
    (folder / "hot_modules.txt").write_text(
        "# two of them\nmemstore/engine/values/deferred_free.py\ntxlog/clock.py\n"
    )
    return folder


def run(clone: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("MEMSTORE_COMPILE", "CC", "PYTHONPATH")
    } | more
    return subprocess.run(
        [sys.executable, *words],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def wheel(clone: Path, **more: str) -> Path:
    result = run(
        clone,
        "-m",
        "pip",
        "wheel",
        "--no-build-isolation",
        "--no-deps",
        "--no-index",
        "-v",
        "-w",
        "out",
        ".",
        **more,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    (found,) = (clone / "out").glob("*.whl")
    (clone / "said").write_text(result.stdout + result.stderr)
    return found


def names_in(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def binaries(tree: Path) -> list[str]:
    return sorted(
        path.name.partition(".")[0]
        for package in ("memstore", "txlog")
        for path in (tree / package).rglob("*.so")
    )


compiles = pytest.mark.skipif(bool(choice.no_compiler()), reason="no C compiler for this Python")


def test_a_pure_wheel(clone: Path) -> None:
    path = wheel(clone, MEMSTORE_COMPILE="0")
    assert path.name.endswith("-py3-none-any.whl")
    names = names_in(path)
    assert {"memstore/py.typed", "txlog/py.typed", "memstore/engine/engine.py"} <= set(names)
    assert not [
        name
        for name in names
        if name.endswith(".so") or name.startswith(("building", "tests", "bench"))
    ]
    with zipfile.ZipFile(path) as archive:
        metadata = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
    from memstore.version import VERSION

    assert "License-Expression: MIT" in metadata
    assert f"\nVersion: {VERSION}\n" in metadata


@compiles
def test_a_compiled_wheel_runs_compiled(clone: Path, tmp_path: Path) -> None:
    path = wheel(clone, MEMSTORE_COMPILE="require")
    assert not path.name.endswith("any.whl")
    assert f"cp{sys.version_info[0]}{sys.version_info[1]}" in path.name
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "site")
    program = (
        "import txlog.clock, memstore.engine.values.deferred_free as d; "
        "print(txlog.clock.__file__, "
        "d.__file__, txlog.clock.__name__)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path / "site",
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.count(".so") == 2, result.stdout + result.stderr
    # A pure wheel from the same folder contains nothing of the compiled one.
    shutil.rmtree(clone / "out")
    assert not [
        name for name in names_in(wheel(clone, MEMSTORE_COMPILE="0")) if name.endswith(".so")
    ]


def test_without_a_compiler_the_wheel_is_pure_and_says_so(clone: Path) -> None:
    path = wheel(clone, CC="/nowhere/cc")
    assert path.name.endswith("-py3-none-any.whl")
    assert (
        "built without compiled modules: there is no C compiler (/nowhere/cc)"
        in (clone / "said").read_text()
    )


@compiles
def test_a_module_that_does_not_compile_gives_a_pure_wheel_unless_required(clone: Path) -> None:
    with open(clone / "txlog" / "clock.py", "a") as file:
        file.write("\nclass Odd(int, metaclass=type(int)):\n    __slots__ = 3\n")
    assert wheel(clone).name.endswith("-py3-none-any.whl")
    assert "compiling failed" in (clone / "said").read_text()
    assert (
        run(
            clone,
            "-m",
            "pip",
            "wheel",
            "--no-build-isolation",
            "--no-deps",
            "--no-index",
            ".",
            MEMSTORE_COMPILE="require",
        ).returncode
        != 0
    )


def test_required_and_impossible_is_an_error(clone: Path) -> None:
    result = run(clone, "setup.py", "-q", "build_ext", CC="/nowhere/cc", MEMSTORE_COMPILE="require")
    assert result.returncode != 0
    assert (
        result.stderr
        == "memstore: MEMSTORE_COMPILE=require, but there is no C compiler (/nowhere/cc)\n"
    )
    wrong = run(clone, "setup.py", "-q", "build_ext", MEMSTORE_COMPILE="maybe")
    assert "MEMSTORE_COMPILE must be one of 0, 1, require" in wrong.stderr


def test_make_compile_without_a_compiler_is_one_line(clone: Path) -> None:
    result = run(clone, "-m", "building", "tree", CC="/nowhere/cc")
    assert (result.returncode, result.stdout) == (3, "")
    assert (
        result.stderr
        == "the hot modules cannot be compiled: there is no C compiler (/nowhere/cc)\n"
    )


@compiles
def test_a_tree_compiles_only_what_changed(clone: Path) -> None:
    result = run(clone, "-m", "building", "tree")
    assert result.returncode == 0, result.stderr
    tree = clone / "tree"
    assert binaries(tree) == ["clock", "deferred_free"]
    assert (tree / ".done").exists()
    assert not [*(clone / "memstore").rglob("*.so")], (
        "the repository's own tree stays free of binaries"
    )
    with open(clone / "txlog" / "clock.py", "a") as file:
        file.write('\n\ndef more() -> str:\n    return "a new literal"\n')
    again = run(clone, "-m", "building", "tree")
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1].startswith("2 of "), (
        "the module and the file with all literals"
    )
    (clone / "hot_modules.txt").write_text("txlog/clock.py\nmemstore/engine/values/double.py\n")
    assert run(clone, "-m", "building", "tree").returncode == 0
    assert binaries(tree) == ["clock", "double"]
