"""What a person types into the shell that they have: a POSIX one, or PowerShell."""

from __future__ import annotations

import os
import shlex


def setting_of(name: str, value: str) -> str:
    """Return the line that sets a variable for the commands that follow it."""
    if os.pathsep == ";":  # Windows alone: there is no other feature that its shell could be known by
        quoted = value.replace("'", "''")
        return f"$env:{name} = '{quoted}'"
    return f"export {name}={shlex.quote(value)}"
