"""The small C file (shim) of each module, by which Python gets the module from the common library.

Decides: how these files become one common text and two lines a module. mypyc writes each of them in
full; without this step the compiler would read Python's headers once for each module.
Must not know: compilers, files.
"""

from __future__ import annotations

import re

_INIT = re.compile(r"^PyMODINIT_FUNC\s+(PyInit_\w+)\(void\)\n", re.MULTILINE)
_NAME = re.compile(r'"(init_\w+)"')
_HIDDEN = '__attribute__((visibility("hidden")))'
_SHOWN = '__attribute__((visibility("default")))'
START = "memstore_start"


def common(text: str, group: str) -> tuple[str, str] | None:
    """Split a shim into the text that all shims share and its own text. None: it does not look as
    expected, and is compiled unchanged.
    """
    init, names = _INIT.search(text), set(_NAME.findall(text))
    if init is None or len(names) != 1:
        return None
    (name,) = names
    full = f"{group}.{name}"
    # the text after the first function is for another compiler
    body = text[: text.index("\n}\n", init.end()) + 3]
    if f'"{full}"' not in body:
        return None
    shared = (
        body.replace(
            init[0], f"{_HIDDEN} PyObject *\n{START}(const char *name, const char *full)\n"
        )
        .replace(f'"{full}"', "full")
        .replace(f'"{name}"', "name")
    )
    if init[1] in shared or name in shared:
        return None
    own = (
        f"struct _object *{START}(const char *, const char *);\n"
        f'{_SHOWN} struct _object *{init[1]}(void) {{ return {START}("{name}", "{full}"); }}\n'
    )
    return shared, own


def shorten(texts: dict[str, str], group: str) -> tuple[str, dict[str, str]] | None:
    """The common text, and the own text of each shim by its name. None: the shims have no common
    text.
    """
    pairs = {path: common(text, group) for path, text in texts.items()}
    shared = {pair[0] if pair else "" for pair in pairs.values()}
    if len(shared) != 1 or "" in shared:
        return None
    return shared.pop(), {path: pair[1] for path, pair in pairs.items() if pair}
