"""What an OpenAPI document must say, whichever service it is of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]


def operations(document: Document) -> Iterator[tuple[str, Document]]:
    """Yield each operation with its method and path."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def unbounded_parameters(document: Document) -> list[str]:
    """Return the numbers without minimum and maximum and the texts without any bound, by operation and name."""
    return [
        f"{name}: {parameter['name']}"
        for name, operation in operations(document)
        for parameter in operation.get("parameters", ())
        if parameter["name"] != "If-None-Match" and not all(map(_is_bounded, _kinds(parameter["schema"])))
    ]


def content_types(document: Document, operation: str) -> set[str]:
    """Return what an operation answers with when it succeeds."""
    found = dict(operations(document))[operation]["responses"]
    return {kind for status, answer in found.items() if status != "default" for kind in answer.get("content", ())}


def _kinds(schema: Document) -> list[Document]:
    return [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]


def _is_bounded(schema: Document) -> bool:
    match schema.get("type"):
        case "integer" | "number":
            return bool(
                {"minimum", "exclusiveMinimum"} & schema.keys() and {"maximum", "exclusiveMaximum"} & schema.keys()
            )
        case "string":
            return bool({"enum", "pattern", "maxLength"} & schema.keys())
        case _:
            return "$ref" in schema
