"""Counts of one service in Prometheus' text format; each application has a registry of its own."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response

_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
_NS: Final = 1e-9


class Metrics:
    """Requests and refusals of one service. Other parts add their own metrics to `registry`.

    Args:
        service: The service's name, a label on every HTTP metric.
        process: Whether memory, processor time and open files of the process are shown too; one registry a process may.
    """

    def __init__(self, service: str, *, process: bool = False) -> None:
        self.service = service
        self.registry = CollectorRegistry()
        if process:
            ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "dtms_http_requests",
            "HTTP requests by declared path, method and status.",
            ("service", "route", "method", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "dtms_http_request_seconds",
            "Time from the request's head to the end of its answer.",
            ("service", "route"),
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self._refused = Counter(
            "dtms_http_refused",
            "Requests that the guard refused or a route answered with a raised problem at the boundary.",
            ("service", "code"),
            registry=self.registry,
        )
        self._known: dict[tuple[str, str, int], Counter] = {}
        self._timed: dict[str, Histogram] = {}

    def request(self, route: str, method: str, status: int, duration_ns: int) -> None:
        """Count one request; `route` is the declared path, so that labels stay few. Status 0: it broke off unanswered."""
        word = method if method in _METHODS else "OTHER"
        key = (route, word, status)
        counter = self._known.get(key)
        if counter is None:
            counter = self._known[key] = self._requests.labels(self.service, route, word, str(status))
        timer = self._timed.get(route)
        if timer is None:
            timer = self._timed[route] = self._seconds.labels(self.service, route)
        counter.inc()
        timer.observe(duration_ns * _NS)

    def refused(self, code: str) -> None:
        """Count one refusal by its problem code."""
        self._refused.labels(self.service, code).inc()

    def response(self) -> Response:
        """Return all metrics of the registry."""
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)


SHOWN: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Prometheus' text format.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}
"""`responses=` of a route that shows metrics."""


def add_metrics(app: FastAPI, metrics: Metrics) -> None:
    """Add /metrics."""

    async def show() -> Response:
        return metrics.response()

    app.add_api_route("/metrics", show, methods=["GET"], responses=SHOWN, response_class=Response)
