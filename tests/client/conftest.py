"""One DTMS server in memory on a manual clock, and both clients on it behind the same blocking face."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar, cast

import pytest

from dtms.client import AsyncDtmsClient, DtmsClient, ServerIdentity, StateAnswer
from dtms.client.fake import AsyncFakeDtms, FakeDtms, ManualClock

T = TypeVar("T")


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never really suspends: no event loop, no thread."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    pytest.fail("the client suspended although its transport and its sleep do not")


class BlockingView:
    """The asynchronous client with the face of the blocking one."""

    def __init__(self, client: AsyncDtmsClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def is_defensive(self, ticket: int) -> bool:
        return drive(self._client.is_defensive(ticket))

    def state(self, ticket: int) -> StateAnswer:
        return drive(self._client.state(ticket))

    def states(self, tickets: Iterable[int]) -> dict[int, StateAnswer]:
        return drive(self._client.states(tickets))

    def check_service(self) -> ServerIdentity:
        return drive(self._client.check_service())


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def server(clock: ManualClock) -> FakeDtms:
    return FakeDtms(clock)


@pytest.fixture
def warned() -> list[str]:
    return []


@pytest.fixture(params=["blocking", "async"])
def client(request: pytest.FixtureRequest, clock: ManualClock, server: FakeDtms, warned: list[str]) -> DtmsClient:
    if request.param == "blocking":
        return DtmsClient(now_ns=clock.now_ns, sleep=clock.sleep, transport=server, on_warning=warned.append)
    coroutines = AsyncDtmsClient(
        now_ns=clock.now_ns, sleep=clock.sleep_async, transport=AsyncFakeDtms(server), on_warning=warned.append
    )
    return cast("DtmsClient", BlockingView(coroutines))
