"""One C file a module that has only the declarations the module uses.

Decides: how to cut mypyc's C files so that an edit of one module leaves the text of the others
unchanged.
Must not know: compilers, files.

mypyc writes one header with all declarations of all modules, and one array, `CPyStatics`, with all
their literals. A new function or literal in one module would change the input of every other
module. Here each module gets only the declarations it names, and names for its own literals. The
assembler makes the names as aliases of places in the array, so an access costs the same as before.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"[A-Za-z_]\w*")
_EXTERN = re.compile(r"extern [^(;\[]*?\b(\w+)(?:\(|\[|;)")
_STRUCT_END = re.compile(r"} (\w+);")
_GUARDED = re.compile(r"#ifndef MYPYC_DECLARED_(\w+)")
_STATIC = re.compile(r"\bCPyStatics\[(\d+)\]")
_OWN_INCLUDE = re.compile(r'^#include "__native_.*"\n', re.MULTILINE)


class Header:
    """The declarations of mypyc's headers, by name and in order."""

    def __init__(self, *texts: str) -> None:
        self._order: list[str] = []
        self._units: dict[str, str] = {}
        self.includes: list[str] = []
        for text in texts:
            self._read(text.splitlines())

    def _read(self, lines: list[str]) -> None:
        at = 0
        while at < len(lines):
            line = lines[at]
            end = at + 1
            if line.startswith("#include"):
                if "__native_" not in line and line not in self.includes:
                    self.includes.append(line)
            elif line.startswith("typedef"):
                while not (found := _STRUCT_END.match(lines[end - 1])):
                    end += 1
                self._add(found[1], lines[at:end])
            elif guarded := _GUARDED.match(line):
                while lines[end - 1] != "#endif":
                    end += 1
                self._add(guarded[1], lines[at:end])
            elif found := _EXTERN.match(line):
                self._add(found[1], [line])
            elif line and not re.match(r"#(ifndef|define|endif)\b", line):
                self._add("", [line])  # an unknown line: every module gets it
            at = end

    def _add(self, name: str, lines: list[str]) -> None:
        name = name or f"<{len(self._order)}>"
        self._order.append(name)
        self._units[name] = "\n".join(lines)

    def used_by(self, text: str) -> str:
        """The declarations that ``text`` names, and those that they name in turn, in the header's
        order.
        """
        wanted: set[str] = set()
        waiting = [text, *(self._units[name] for name in self._order if name.startswith("<"))]
        while waiting:
            for word in set(_WORD.findall(waiting.pop())):
                if word in self._units and word not in wanted:
                    wanted.add(word)
                    waiting.append(self._units[word])
        return "\n".join(
            self._units[name] for name in self._order if name in wanted or name.startswith("<")
        )


def own_names(module: str, text: str) -> tuple[str, dict[str, int]]:
    """``text`` with names instead of numbers for its literals, and the number of each name."""
    numbers: dict[str, int] = {}
    names: dict[str, str] = {}

    def name(found: re.Match[str]) -> str:
        number = found[1]
        if number not in names:
            names[number] = f"CPyStatic{len(names)}_of_{module}"
            numbers[names[number]] = int(number)
        return names[number]

    return _STATIC.sub(name, text), numbers


def cut(module: str, text: str, header: Header) -> tuple[str, dict[str, int]]:
    """The module's C text as a file that needs none of mypyc's headers of this build, and the
    literals that it names.
    """
    body, numbers = own_names(module, _OWN_INCLUDE.sub("", text))
    literals = "".join(f"extern PyObject *{name};\n" for name in numbers)
    # Hidden: the compiler knows that they are in the same library. So calls and literals need no
    # tables for symbols of other libraries.
    head = [
        *header.includes,
        "#pragma GCC visibility push(hidden)",
        header.used_by(body),
        literals + "#pragma GCC visibility pop",
    ]
    return "\n".join(head) + "\n" + body, numbers


def aliases(numbers: dict[str, int]) -> str:
    """C text for the file that defines `CPyStatics`: each name becomes a place in the array."""
    lines = [
        f'"  .globl {name}\\n  .hidden {name}\\n  .set {name}, CPyStatics + {number} * " '
        'POINTER_BYTES "\\n"'
        for name, number in numbers.items()
    ]
    # It is text because the assembler does not know sizeof.
    return (
        '#if UINTPTR_MAX > 0xffffffffu\n#define POINTER_BYTES "8"\n#else\n#define POINTER_BYTES '
        '"4"\n#endif\n__asm__(\n' + "\n".join(lines) + "\n);\n"
    )
