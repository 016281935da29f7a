"""The FastAPI application as every service uses it, and the parts in front of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from fastapi import FastAPI
from starlette.types import ASGIApp

from dtms.services.web import problem
from dtms.services.web.access import Access, access_needed
from dtms.services.web.dispatch import HotRead, HotRoutes
from dtms.services.web.fields import Body
from dtms.services.web.guard import Gate, Guard
from dtms.services.web.metrics import Metrics

_REF: Final = "#/components/schemas/{name}"
_BEARER: Final = "bearer"
_PROBLEM_SCHEMA: Final[Mapping[str, object]] = {
    "title": "Problem",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "request_id": {"type": "string"},
        "fields": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "code", "message"],
                "properties": {name: {"type": "string"} for name in ("field", "code", "message")},
            },
        },
    },
}
_PROBLEM_CONTENT: Final = {problem.PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}


def header(name: str, pattern: str | None = None, *, required: bool = False) -> dict[str, Any]:
    """Return `openapi_extra=` of a route that reads a header by itself."""
    schema = {"type": "string"} if pattern is None else {"type": "string", "pattern": pattern}
    return {"parameters": [{"name": name, "in": "header", "required": required, "schema": schema}]}


class Api(FastAPI):
    """FastAPI with our problems, no pages from elsewhere, and an OpenAPI document that says what is really answered."""

    def __init__(self, title: str) -> None:
        super().__init__(title=title, docs_url=None, redoc_url=None, redirect_slashes=False)
        self._components: dict[str, Any] = {}
        problem.install(self)

    def answers(
        self, kind: Any, status: int = 200, description: str = "The answer."
    ) -> dict[int | str, dict[str, Any]]:
        """Return `responses=` of a route that answers an encoded msgspec type."""
        (schema,), components = msgspec.json.schema_components((kind,), ref_template=_REF)
        self._components.update(components)
        return {status: {"description": description, "content": {"application/json": {"schema": schema}}}}

    def takes(self, model: type[Body]) -> dict[str, Any]:
        """Return `openapi_extra=` of a route whose body is decoded by `body_of(model)`."""
        schema = model.model_json_schema(ref_template=_REF.replace("{name}", "{model}"))
        self._components.update(schema.pop("$defs", {}))
        self._components[model.__name__] = schema
        reference = {"$ref": _REF.format(name=model.__name__)}
        return {"requestBody": {"required": True, "content": {"application/json": {"schema": reference}}}}

    def openapi(self) -> dict[str, Any]:
        """Return the document: the framework's, with problems in the place of its own errors, and the token on writes."""
        if self.openapi_schema is None:
            self.openapi_schema = self._truthful(super().openapi())
        return self.openapi_schema

    def _truthful(self, document: dict[str, Any]) -> dict[str, Any]:
        for path, item in document["paths"].items():
            for method, operation in item.items():
                operation["responses"].pop("422", None)
                operation["responses"]["default"] = {"description": "A problem.", "content": _PROBLEM_CONTENT}
                if access_needed(method.upper(), path) is not Access.READ:
                    operation["security"] = [{_BEARER: []}]
        components = document.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        schemas.update(self._components, Problem=_PROBLEM_SCHEMA)
        components["securitySchemes"] = {_BEARER: {"type": "http", "scheme": "bearer"}}
        return document


def wrap(
    api: FastAPI,
    gate: Gate,
    metrics: Metrics,
    *,
    exact: Mapping[str, HotRead] | None = None,
    prefixes: Mapping[str, HotRead] | None = None,
) -> ASGIApp:
    """Return the whole application: hot reads, then the guard, then FastAPI."""
    guarded = Guard(api, gate, metrics, routes=api.router.routes)
    if exact is None and prefixes is None:
        return guarded
    return HotRoutes(guarded, gate, metrics, exact=exact, prefixes=prefixes)
