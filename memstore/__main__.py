"""`python -m memstore`: the command line, nothing else."""

from __future__ import annotations

from memstore.cli import main

if __name__ == "__main__":
    main()
