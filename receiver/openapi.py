"""The routes as an OpenAPI 3.1 document, built in one function; a test holds it to the routes there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from freshness.ledger.status import FileStatus
from freshness.settings import WebhookKeys

from . import events, portal, webhook
from .decoding import STAMP_KEY
from .senders.sender import Sender

_REF = {
    "name": "ref",
    "in": "path",
    "required": True,
    "description": "`sLRefNm`, MLM's reference number",
    "schema": {"type": "string", "minLength": 1, "maxLength": 100},
    "example": "R000123",
}
_ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "What registering the own write answered",
    "schema": {"type": "integer", "minimum": 1},
    "example": 1,
}
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "field": {"type": ["string", "null"], "description": "422: the field that is wrong"},
        "position": {"type": ["integer", "null"], "description": "400 and 422: the byte at which the fault lies"},
    },
}
_TEXTS = {name: {"type": "string", "description": "Unless by HTTP Basic"} for name in ("client_id", "client_secret")}
_WHAT = {
    400: "The body is not JSON",
    401: "No token, or a wrong one",
    403: "Calls from this address are not allowed",
    404: "Unknown, or no token is configured for this route",
    413: "The body is too large",
    422: "JSON, but not of a form that is known",
    429: "Too many requests of this address were refused, and so is this; come again after `Retry-After` seconds",
    503: "PostgreSQL is away; try again after `Retry-After` seconds",
}
_RETRY_AFTER = {"Retry-After": {"required": True, "schema": {"type": "string", "pattern": "^[0-9]+$"}}}
_HEADERS = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}},
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}
_FILE_STATUS = {"$ref": "#/components/schemas/FileStatus"}
_EXITED = {
    "type": "object",
    "required": ["outcome"],
    "properties": {"outcome": {"enum": ["capturing", "ordered", "nothing"]}},
}


_SPOOLED = {
    "type": "object",
    "required": ["received", "spooled"],
    "properties": {name: {"type": "integer", "minimum": 0} for name in ("received", "spooled")},
}


def document(senders: Sequence[Sender] = ()) -> dict[str, Any]:
    """The whole document. Bodies are described by the very types that read them, those of `senders` by their guides."""
    forms = (portal.Registration, portal.Exit, portal.CaptureMark, portal.SeedMark, portal.Nothing, FileStatus)
    _, schemas = msgspec.json.schema_components(forms, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "MLM freshness",
            "version": "1",
            "description": "A portal's local copy of MLM's loans and leads, kept fresh.",
        },
        "paths": {**_webhook(), **_senders(senders), **_files(), **_events(), **_health()},
        "components": {
            "schemas": {**schemas, "Problem": _PROBLEM},
            "securitySchemes": {
                "mlm": {"type": "http", "scheme": "bearer", "description": "MLM_WEBHOOK_TOKEN"},
                "portal": {"type": "http", "scheme": "bearer", "description": "PORTAL_API_TOKEN"},
                "metrics": {"type": "http", "scheme": "bearer", "description": "METRICS_TOKEN"},
                "ticket": {"type": "apiKey", "in": "query", "name": "ticket"},
            },
        },
    }


def _webhook() -> dict[str, Any]:
    keys = WebhookKeys()
    text = {"type": ["string", "integer", "null"]}
    entry = {
        "type": "object",
        "description": "Key names in any letter case, and other names by MLM_WEBHOOK_KEYS",
        "properties": {
            keys.event: text,
            keys.number: text,
            keys.reference: text,
            keys.values: {
                "type": ["object", "null"],
                "properties": {STAMP_KEY: {"type": ["string", "number", "null"]}},
            },
        },
    }
    entries = {"type": "array", "items": {}, "description": "Entries; one that is none is a rejected receipt"}
    wrapped = {"type": "object", "description": "A single entry, or a list of entries under any one key"}
    counts = ("received", "dispatched", "skipped", "rejected")
    answer = {
        "type": "object",
        "required": list(counts),
        "properties": {name: {"type": "integer", "minimum": 0} for name in counts},
    }
    body = {"anyOf": [{"type": "array", "items": entry}, entries, entry, wrapped]}
    post = _operation(
        "Changes in MLM, in a batch; answered after the commit",
        {
            200: ("Every entry has its receipt", answer),
            202: ("PostgreSQL is away; the batch is on disk (SPOOL_DIR) and is decided once it is back", _SPOOLED),
        },
        refused=(400, 401, 403, 404, 413, 422, 503),
        security="mlm",
        body=body,
    )
    post["requestBody"]["content"]["application/json"]["example"] = [
        {
            keys.event: "Modified",
            keys.number: "2026110096",
            keys.reference: "R000123",
            keys.values: {STAMP_KEY: "2026-11-20T13:04:05.123"},
        }
    ]
    return {webhook.PATH: {"post": post}}


def _senders(senders: Sequence[Sender]) -> dict[str, Any]:
    counts = ("received", "applied", "waiting", "skipped", "rejected")
    answer = {
        "type": "object",
        "required": list(counts),
        "properties": {name: {"type": "integer", "minimum": 0} for name in counts},
    }
    paths: dict[str, Any] = {}
    for sender in senders:
        post = _operation(
            f"What {sender.name} sends; answered after the commit (docs/senders.md says how it proves itself)",
            {
                200: ("Every entry has its receipt", {"anyOf": [answer, _SPOOLED]}),
                202: ("PostgreSQL is away; the body is on disk (SPOOL_DIR), and is decided once it is back", _SPOOLED),
            },
            refused=(400, 401, 404, 413, 422, 503),
            body={"type": ["object", "array"], "description": "As its sender's guide has it, or a list of such"},
        )
        paths[sender.path] = {"post": post}
        for route in sender.routes:
            token = {"type": "object", "required": ["access_token", "token_type", "expires_in"]}
            error = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
            said = {200: ("Issued", token), 400: ("Another grant", error), 401: ("Another client", error)}
            form = {"grant_type": {"const": "client_credentials"}, **_TEXTS}
            operation = _operation("An access token (RFC 6749, 4.4)", said, refused=(404, 413), form=form)
            paths[route.path] = {"post": operation}
    return paths


def _files() -> dict[str, Any]:
    order = {"type": "object", "required": ["order"], "properties": {"order": {"type": "integer"}}}
    registered = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}
    table: tuple[tuple[str, str, str, dict[int, tuple[str, Any]], type | None], ...] = (
        ("post", "/mlm/own-writes", "Before a write to MLM", {201: ("Registered", registered)}, portal.Registration),
        ("post", "/mlm/own-writes/{id}/exit", "After it, well or badly", {200: ("Ended", _EXITED)}, portal.Exit),
        ("post", "/mlm/capture-mark", "After a write, short form", {202: ("Taken", _EXITED)}, portal.CaptureMark),
        ("post", "/mlm/seed-mark", "After creating it in MLM", {202: ("Taken", _EXITED)}, portal.SeedMark),
        ("post", "/mlm/refresh", "Read it again", {202: ("Ordered", order)}, portal.Nothing),
        ("get", "/freshness", "How fresh it is", {200: ("As it stands", _FILE_STATUS)}, None),
    )
    paths: dict[str, Any] = {}
    for plural, kind in portal.KINDS.items():
        for method, rest, summary, answers, form in table:
            body = {"$ref": f"#/components/schemas/{form.__name__}"} if form else None
            refused = (400, 401, 404, 413, 422, 503) if form else (401, 404, 503)
            operation = _operation(f"{summary} ({kind})", answers, refused=refused, security="portal", body=body)
            operation["parameters"] = [_REF, _ID] if "{id}" in rest else [_REF]
            operation.get("requestBody", {})["required"] = form is portal.Exit
            paths[f"/api/v1/{plural}/{{ref}}{rest}"] = {method: operation}
    return paths


def _events() -> dict[str, Any]:
    listen = _operation(
        "Announcements as server-sent events: fetching, hydrated, fresh, purged, and reset",
        {200: ("A stream", {"type": "string"})},
        refused=(401, 404, 422, 503),
        security="portal",
        media_type="text/event-stream",
    )
    listen["security"].append({"ticket": []})
    listen["parameters"] = [
        {"name": "ref", "in": "query", "schema": {"type": "string"}, "description": "Of this file alone"},
        {"name": "last_event_id", "in": "query", "schema": {"type": "string"}, "description": "As Last-Event-ID"},
        {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}, "description": "Resume behind it"},
    ]
    issued = {
        "type": "object",
        "required": ["ticket", "expires_in"],
        "properties": {"ticket": {"type": "string"}, "expires_in": {"type": "integer", "description": "Seconds"}},
    }
    ticket = _operation(
        "A ticket that signs in one stream, once", {201: ("Issued", issued)}, (401, 404, 503), security="portal"
    )
    return {events.PATH: {"get": listen}, events.TICKETS: {"post": ticket}}


def _health() -> dict[str, Any]:
    said = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}
    ready = _operation("Whether a batch would be taken", {200: ("Ready", said), 503: ("Not ready", said)})
    metrics = _operation(
        "How the whole house stands, for Prometheus; without METRICS_TOKEN, for callers on the same machine",
        {200: ("Prometheus' text, or OpenMetrics by the Accept header", {"type": "string"})},
        refused=(401, 403),
        security="metrics",
        media_type="text/plain",
    )
    return {
        "/healthz": {"get": _operation("Whether the process lives", {200: ("It does", said)})},
        "/readyz": {"get": ready},
        "/metrics": {"get": metrics},
        "/openapi.json": {"get": _operation("This document", {200: ("OpenAPI 3.1", {"type": "object"})})},
    }


def _operation(
    summary: str,
    answers: dict[int, tuple[str, Any]],
    refused: tuple[int, ...] = (),
    *,
    security: str | None = None,
    body: dict[str, Any] | None = None,
    form: dict[str, Any] | None = None,
    media_type: str = "application/json",
) -> dict[str, Any]:
    if 401 in refused:  # whoever is refused may be refused too often
        refused = (*refused, 429)
    operation: dict[str, Any] = {
        "summary": summary,
        "security": [{security: []}] if security else [],
        "responses": {
            **{str(code): _answer(what, schema, media_type) for code, (what, schema) in answers.items()},
            **{str(code): _refusal(code) for code in refused},
        },
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    if form is not None:
        fields = {"type": "object", "required": ["grant_type"], "properties": form}
        content = {"application/x-www-form-urlencoded": {"schema": fields}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _refusal(code: int) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    headers = {"headers": _HEADERS[code]} if code in _HEADERS else {}
    return {"description": _WHAT[code], "content": problem, **headers}


def _answer(what: str, schema: Any, media_type: str) -> dict[str, Any]:
    return {"description": what, "content": {media_type: {"schema": schema}}}
