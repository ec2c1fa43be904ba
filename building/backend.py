"""The build backend that pip and `python -m build` call: setuptools' backend with two changes. It
asks for mypyc only where that is of use, and it builds pure where compiling fails.

Decides: what a build needs, and what happens when the compiler fails.
Must not know: how modules are compiled.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

from building.choice import VARIABLE, choice, no_compiler, notice

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

Settings = dict[str, Any] | None


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """mypyc, and the packages that the modules import: mypyc compiles with their types."""
    found = list(build_meta.get_requires_for_build_wheel(config_settings))
    given = choice()
    if given == "0" or (no_compiler() and given != "require"):
        return found
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    return [*found, *project["dependencies"], *project["optional-dependencies"]["compile"]]


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    given = choice()

    def build(compiled: bool) -> str:
        for folder in Path("build").glob("lib*"):
            shutil.rmtree(folder)  # setuptools would pack the files of an earlier build
        os.environ[VARIABLE] = "require" if compiled else "0"
        try:
            name: str = build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)
            return name
        finally:
            os.environ[VARIABLE] = given

    if given == "0":
        return build(False)
    reason = no_compiler()
    if not reason or given == "require":
        try:
            return build(True)
        except (Exception, SystemExit) as error:
            if given == "require":
                raise
            print(error)
            reason = "compiling failed: " + (str(error).strip().splitlines() or [repr(error)])[-1]
    notice(reason)
    return build(False)
