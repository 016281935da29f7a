"""The same tests on PostgreSQL: what other folders prove over a ledger in memory, over a real server."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.app.rig import Rig
from tests.ledger.choice import CHOSEN
from tests.ledger.servers import emptied_postgres, postgres_server, run_sql

__all__ = ["emptied_postgres", "postgres_server"]

_further = count(1)
_SAMPLED = "test_faults_through_the_executor_on_postgres.py"
_EVERY = 6


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep each test of the faults, but of its hundreds of cases every sixth: all of them run over memory."""
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    seen: dict[str, int] = {}
    for item in items:
        function = item.nodeid.partition("[")[0]
        number = seen[function] = seen.get(function, -1) + 1
        sampled = item.path.name == _SAMPLED and item.path.parent.name == "postgres"
        (left if sampled and number % _EVERY else kept).append(item)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


@pytest.fixture(autouse=True)
def on_postgres(
    emptied_postgres: Callable[[str], str],
    postgres_server: Callable[[str], str],
) -> Iterator[None]:
    """Every rig of the test stands on a server: the first on the shared ledger, emptied, each further on one of its own."""

    def url(account: str) -> str:
        if not CHOSEN.opened:
            return emptied_postgres(account)
        name = f"further_{next(_further)}"
        run_sql(postgres_server("postgres"), f"CREATE DATABASE {name}")
        return postgres_server(name)

    CHOSEN.url = url
    yield
    CHOSEN.reset()


@pytest.fixture
def rig() -> Rig:
    return Rig()
