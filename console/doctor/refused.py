"""The newest refused deliveries, readable: the first thing that a new lender's integration needs to see.

Of a body the names and sizes of its keys are known, never a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import click

from console.output import cell, plain
from freshness.settings import Settings

#: Kinds of refusals that are shown.
MOST_KINDS = 5


def tell(refusals: Sequence[Mapping[str, Any]], settings: Settings) -> None:
    """Print them for people, those alike as one, the newest kind first; each with what it may be about."""
    alike: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for each in refusals:
        alike.setdefault((each["path"], each["address"], each["status"], each["reason"]), []).append(each)
    for group in list(alike.values())[:MOST_KINDS]:
        newest, status = group[0], HTTPStatus(group[0]["status"])
        click.secho(f"{status} {status.phrase}, {_when(group)}", bold=True)
        shown = next((each for each in group if each["keys"]), newest)  # beyond 60 a minute only the count is kept
        for name, value in _lines(shown, settings):
            click.echo(f"  {name:<8}{plain(value)}")
        click.echo()


def _when(group: Sequence[Mapping[str, Any]]) -> str:
    count = sum(each["count"] for each in group)
    if count == 1:
        return f"at {cell(group[0]['at'])}"
    return f"{count} times, last at {cell(group[0]['at'])}"


def _lines(each: Mapping[str, Any], settings: Settings) -> list[tuple[str, str]]:
    body = [each["content_type"] or "no content type"]
    body += [f"{each['content_length']:,} bytes"] if each["content_length"] is not None else []
    body += [f"the fault is at {each['fault_position']}"] if each["fault_position"] else []
    shown = [("from", each["address"]), ("to", each["path"]), ("why", each["reason"]), ("body", ", ".join(body))]
    keys = [("keys" if n == 0 else "", line) for n, line in enumerate(_keys(each["keys"] or ()))]
    return [*shown, *keys, *(("→", hint) for hint in _hints(each["status"], settings))]


def _keys(keys: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line a key, indented by its level."""
    return [f"{'  ' * (each['level'] - 1)}{each['key']}  {each['bytes']} bytes" for each in keys]


def _hints(status: int, settings: Settings) -> list[str]:
    names = settings.mlm_webhook_keys
    match status:
        case HTTPStatus.BAD_REQUEST:
            return ["The body must be JSON."]
        case HTTPStatus.UNAUTHORIZED:
            return ["Its bearer is none of those in MLM_WEBHOOK_TOKEN, or none came.", "Authorization: Bearer …"]
        case HTTPStatus.FORBIDDEN:
            return ["MLM_WEBHOOK_NETWORKS does not hold this address.", "Behind a proxy? Name it in TRUSTED_PROXIES."]
        case HTTPStatus.NOT_FOUND:
            return ["MLM_WEBHOOK_TOKEN is not set where that receiver runs."]
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return ["A body may have 5 MiB: let MLM send smaller batches."]
        case HTTPStatus.UNPROCESSABLE_ENTITY:
            wanted = f"{names.event}, {names.number}, {names.reference}, {names.values}"
            return [f"Looked for: {wanted}.", "Other names for them go into MLM_WEBHOOK_KEYS."]
        case _:
            return []
