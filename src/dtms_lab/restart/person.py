"""A person of a drill who opens trades by the main API, and asks again with the same key until there is an answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import requests

from dtms.domain.units import MINUTE, Millis

_TIMEOUT_S: Final = 3.0
_AGAIN_S: Final = 0.1
_LOOK_S: Final = 0.02
_UNDER_WAY: Final = "idempotency_in_flight"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is opened, and when: distances from the bid, in price units."""

    at: Millis
    direction: str
    stop: float
    target: float
    volume: float = 0.4


@dataclass(slots=True, kw_only=True)
class Wish:
    """One order with what was answered to it; `ticket` and `said` are None while nobody has answered for good."""

    key: str
    order: Order
    asked: int = 0
    ticket: int | None = None
    status: int | None = None
    said: str = ""
    tickets: set[int] = field(default_factory=set)
    """Every ticket that was ever named to this key: more than one is a trade opened twice."""

    @property
    def settled(self) -> bool:
        """Say whether the answer is final."""
        return self.status is not None


class Person:
    """Opens trades in a thread of its own; `prices` returns the market's bid."""

    def __init__(
        self,
        orders: tuple[Order, ...],
        *,
        api_url: str,
        token: str,
        symbol: str,
        now: Callable[[], Millis],
        bid: Callable[[], float],
        flatten_at: Millis | None = None,
    ) -> None:
        self.wishes = tuple(Wish(key=f"drill-{number}", order=order) for number, order in enumerate(orders))
        self._url = f"{api_url}/api/trades"
        self._switch_url = f"{api_url}/api/kill-switch"
        self._flatten_at = flatten_at
        self.flattened = False
        self._symbol = symbol
        self._now = now
        self._bid = bid
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Bearer {token}"
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="person", daemon=True)
        self._bodies: dict[str, dict[str, object]] = {}

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; what has no answer stays without one."""
        self._ending.set()
        self._join()
        self._session.close()

    def _join(self) -> None:
        if self._thread.is_alive():
            self._thread.join(_TIMEOUT_S + 2)

    def finish(self, within_s: float) -> None:
        """Wait until each wish whose time has come is answered, then ask each again: the same answer must come."""
        end = time.monotonic() + within_s
        while not all(wish.settled for wish in self._due()) and time.monotonic() < end:
            time.sleep(_LOOK_S)
        self._ending.set()
        self._join()
        for wish in self._due():
            if wish.settled:
                self._ask(wish)
        self._session.close()

    def _due(self) -> list[Wish]:
        return [wish for wish in self.wishes if wish.order.at <= self._now()]

    def _run(self) -> None:
        while not self._ending.wait(_LOOK_S):
            for wish in self._due():
                if not wish.settled and not self._ending.is_set():
                    self._ask(wish)
            if self._flatten_at is not None and not self.flattened and self._now() >= self._flatten_at:
                self._press()

    def _press(self) -> None:
        """Press the kill switch, again with the same key until it is acknowledged."""
        try:
            answer = self._session.post(
                self._switch_url, json={"level": "flatten"}, headers={"Idempotency-Key": "flatten"}, timeout=_TIMEOUT_S
            )
        except requests.RequestException:
            self._ending.wait(_AGAIN_S)
            return
        self.flattened = answer.status_code == HTTPStatus.OK

    def _ask(self, wish: Wish) -> None:
        wish.asked += 1
        try:
            answer = self._session.post(
                self._url, json=self._body(wish), headers={"Idempotency-Key": wish.key}, timeout=_TIMEOUT_S
            )
        except OSError:  # what `requests` raises, and a terminal that tells no price
            self._ending.wait(_AGAIN_S)
            return
        self._take(wish, answer)

    def _take(self, wish: Wish, answer: requests.Response) -> None:
        try:
            told = answer.json()
        except ValueError:
            return
        ticket = told.get("ticket")
        if isinstance(ticket, int):
            wish.ticket = ticket
            wish.tickets.add(ticket)
        unknown = answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR and "intent_id" not in told
        if unknown or told.get("code") == _UNDER_WAY:
            self._ending.wait(_AGAIN_S)
            return
        wish.status = answer.status_code
        wish.said = str(told.get("detail", ""))

    def _body(self, wish: Wish) -> dict[str, object]:
        """Return the body of a wish: the same one for the same key."""
        if wish.key not in self._bodies:
            order, bid = wish.order, self._bid()
            side = 1 if order.direction == "BUY" else -1
            self._bodies[wish.key] = {
                "symbol": self._symbol,
                "direction": order.direction,
                "volume": order.volume,
                "stop_loss": round(bid - side * order.stop, 2),
                "take_profit": round(bid + side * order.target, 2),
            }
        return self._bodies[wish.key]


def orders_over(start: Millis, minutes: int) -> tuple[Order, ...]:
    """Return the drill's orders: both sides, with wide stops that leave room for the defence and near ones for profit."""
    shapes = (("SELL", 24.0, 60.0), ("BUY", 24.0, 60.0), ("SELL", 9.0, 18.0), ("BUY", 9.0, 18.0))
    return tuple(
        Order(
            at=Millis(start + minute * MINUTE),
            direction=shapes[number % len(shapes)][0],
            stop=shapes[number % len(shapes)][1],
            target=shapes[number % len(shapes)][2],
        )
        for number, minute in enumerate(range(0, minutes, 4))
    )
