"""What every test may use: the recorded market data beside the checkout, and reproducible properties."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from dtms.core._jit import compile_all

_SHARED = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"

settings.register_profile(
    "house",
    derandomize=True,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("house")


def pytest_configure(config: pytest.Config) -> None:
    """Compile the kernels once, before any worker starts: workers that compile the same cold cache at once take minutes."""
    if not hasattr(config, "workerinput"):
        compile_all()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what only POSIX has where it is not, or where dtms is kept from seeing it (`tests/posix_blind`)."""
    if sys.platform != "win32" and not config.pluginmanager.has_plugin("posix_blind"):
        return
    for item in items:
        if item.get_closest_marker("posix") is not None:
            item.add_marker(pytest.mark.skip(reason="POSIX alone has it"))


@pytest.fixture(scope="session", autouse=True)
def _no_data_folder_of_a_person(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A start that names no data folder takes its user's own: for tests that is one of theirs."""
    os.environ["XDG_DATA_HOME"] = str(tmp_path_factory.mktemp("user-data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The recorded market data; missing data fails unless DTMS_NO_SHARED=1 says that it is known to be missing."""
    if not _SHARED.is_dir():
        if os.environ.get("DTMS_NO_SHARED") == "1":
            pytest.skip("recorded market data (../shared/data) is missing and DTMS_NO_SHARED=1")
        pytest.fail(f"recorded market data is missing at {_SHARED.resolve()}; put it there or set DTMS_NO_SHARED=1")
    return _SHARED.resolve()


@pytest.fixture(scope="session")
def shared_cases(shared_data: Path) -> Path:
    """The folder of cases that other people's reports and files showed, beside the recorded market data."""
    return shared_data.parent / "cases"
