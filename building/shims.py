"""The small C file of each module, from which Python gets the module out of the library that holds
all of them.

Decides: how these files, which mypyc writes in full for each module, become one common text and
two lines a module. They are as many as the modules, and each would read Python's headers.
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
    """A shim as the text that all of them share, and the text of its own. None where it does not
    look as expected: it is compiled as it is then.
    """
    init, names = _INIT.search(text), set(_NAME.findall(text))
    if init is None or len(names) != 1:
        return None
    (name,) = names
    full = f"{group}.{name}"
    # what is behind the first function is for another compiler
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
    """The common text, and the text of each shim by its name. None where they do not have one text
    in common.
    """
    pairs = {path: common(text, group) for path, text in texts.items()}
    shared = {pair[0] if pair else "" for pair in pairs.values()}
    if len(shared) != 1 or "" in shared:
        return None
    return shared.pop(), {path: pair[1] for path, pair in pairs.items() if pair}
