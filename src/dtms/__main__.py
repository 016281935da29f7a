"""`python -m dtms` is the `dtms` command."""

from __future__ import annotations

from dtms.cli.main import main

if __name__ == "__main__":
    main()
