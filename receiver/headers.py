"""Headers that every answer has unless its route says otherwise: no browser is to keep it, run it or frame it."""

from __future__ import annotations

from starlette.types import Message, Send

#: Over plain HTTP browsers do not heed the first.
HEADERS = (
    (b"strict-transport-security", b"max-age=31536000"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


def with_headers(send: Send) -> Send:
    """What sends an answer, with those of the headers that it does not have."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = message.get("headers", [])
            names = {name.lower() for name, _ in given}
            message["headers"] = [*given, *(header for header in HEADERS if header[0] not in names)]
        await send(message)

    return sending
