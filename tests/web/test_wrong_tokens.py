"""Guessing a token gets slow; who has the right one does not notice."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from dtms.services.web.wrong_tokens import DELAY_S, FREE, WINDOW_S, WrongTokens

SECOND = 1_000_000_000


def test_a_few_wrong_tokens_are_answered_at_once_and_further_ones_wait() -> None:
    wrong = WrongTokens(lambda: 0)

    assert [wrong.delay_s() for _ in range(FREE + 2)] == [0.0] * FREE + [DELAY_S] * 2


def test_wrong_tokens_that_come_seldom_never_wait() -> None:
    now = 0
    wrong = WrongTokens(lambda: now)

    for _ in range(50):
        assert wrong.delay_s() == 0.0
        now += round(WINDOW_S / FREE * SECOND)


def test_a_guess_is_held_back_and_the_right_token_beside_it_is_not(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)

    async def guess(token: str, times: int) -> list[int]:
        transport = httpx.ASGITransport(app=site.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8001") as client:
            sent = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            return [(await client.post("/orders", content=b"{}", headers=sent)).status_code for _ in range(times)]

    assert asyncio.run(guess("x" * 43, FREE + 3)) == [401] * (FREE + 3)
    assert slept == [DELAY_S] * 3
    assert asyncio.run(guess("t" * 43, 3)) == [422] * 3
    assert slept == [DELAY_S] * 3
