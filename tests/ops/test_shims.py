"""The C files that make each module importable share one text where they can."""

from __future__ import annotations

import pytest

pytest.importorskip("building", reason="the compiled tree is not built from")

from building.shims import common, shorten

SHIM = """#include <Python.h>

PyMODINIT_FUNC
PyInit_LAST(void)
{
    PyObject *tmp = PyImport_ImportModule("group__mypyc");
    PyObject *capsule = PyObject_GetAttrString(tmp, "init_FULL");
    if (capsule == NULL) {
        return NULL;
    }
    void *init = PyCapsule_GetPointer(capsule, "group__mypyc.init_FULL");
    return ((PyObject *(*)(void))init)();
}

// for another compiler
PyMODINIT_FUNC PyInit___init__(void) { return PyInit_LAST(); }
"""


def shim(full: str) -> str:
    return SHIM.replace("LAST", full.rpartition("___")[2]).replace("FULL", full)


def test_shims_share_all_but_their_names() -> None:
    texts = {"a.c": shim("memstore___node"), "b.c": shim("txlog___node")}
    short = shorten(texts, "group__mypyc")
    assert short is not None
    shared, own = short
    assert "PyInit_" not in shared and "init_" not in shared
    assert "PyObject_GetAttrString(tmp, name)" in shared
    assert "PyCapsule_GetPointer(capsule, full)" in shared
    assert 'PyInit_node(void) { return memstore_start("init_txlog___node", ' in own["b.c"]
    assert '"group__mypyc.init_txlog___node")' in own["b.c"]
    assert own["a.c"] != own["b.c"] and "Python.h" not in own["a.c"]


@pytest.mark.parametrize(
    "other",
    [
        shim("txlog___log").replace("NULL", "0"),
        shim("txlog___log").replace("PyInit_log(void)\n", "PyInit_log(int)\n"),
        shim("txlog___log").replace("group__mypyc.init", "other.init"),
        "",
    ],
)
def test_shims_that_look_otherwise_stay_as_they_are(other: str) -> None:
    assert common(shim("memstore___node"), "group__mypyc") is not None
    assert shorten({"a.c": shim("memstore___node"), "b.c": other}, "group__mypyc") is None
