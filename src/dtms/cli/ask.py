"""Questions to the running services."""

import typer


def add(app: typer.Typer) -> None:
    """Add."""
