"""How a service runs a call that blocks: in a thread when live, at once when driven by hand on virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from starlette.concurrency import run_in_threadpool

T = TypeVar("T")

Sleep = Callable[[float], Awaitable[None]]


class Offload(Protocol):
    """Runs a blocking call and awaits its result; what the call raises is raised here."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """Run `work`."""
        ...


async def in_thread(work: Callable[[], T], /) -> T:
    """Run the call in the event loop's thread pool: for live services."""
    return await run_in_threadpool(work)


async def inline(work: Callable[[], T], /) -> T:
    """Run the call here and now: for applications driven by hand, and for calls that do not block."""
    return work()
