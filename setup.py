"""The part of the build that pyproject.toml cannot say: which modules become machine code, and
when. See docs/building.md.
"""

import os
import sys

from setuptools import setup

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from building.choice import wants_extensions
from building.modules import hot_modules

if wants_extensions(sys.argv[1:]):
    from building.compiling import Compile, extensions

    setup(ext_modules=extensions(hot_modules()), cmdclass={"build_ext": Compile})
else:
    setup()
