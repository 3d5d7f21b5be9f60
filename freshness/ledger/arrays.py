"""Arrays as PostgreSQL writes them: value by value the driver takes some ten times as long (measured)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def array(kind: str, values: Iterable[Any]) -> str:
    """The values of one column, as the text of an array of this type."""
    if kind == "text":
        return "{" + ",".join(["NULL" if value is None else _quoted(value) for value in values]) + "}"
    if kind == "bytea":
        return "{" + ",".join(["NULL" if value is None else f'"\\\\x{value.hex()}"' for value in values]) + "}"
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def arrays(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]]) -> dict[str, str]:
    """Rows as one array a column, by the columns' names; each column is its name and its type."""
    turned = zip(*rows, strict=True) if rows else [()] * len(columns)
    return {name: array(kind, values) for (name, kind), values in zip(columns, turned, strict=True)}


def unnested(columns: Sequence[tuple[str, str]]) -> str:
    """The call that makes them rows again, for parameters of the columns' names."""
    return f"unnest({', '.join(f'%({name})s::{kind}[]' for name, kind in columns)})"


def _quoted(text: str) -> str:
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
