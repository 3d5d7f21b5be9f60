"""Reading a request's body within a limit, and a small JSON body as a typed one."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec
from starlette.requests import Request

from .errors import TooMuch
from .problems import Problem

#: The most a webhook's delivery may have (the contract).
LARGEST_DELIVERY = 5 * 1024 * 1024

#: The most a portal's call may have.
LARGEST_CALL = 64 * 1024

T = TypeVar("T")

_AT_FIELD = re.compile(r" - at `\$\.?(?P<field>[^`]*)`$")


def announced_length(request: Request) -> int | None:
    """What `Content-Length` says, where it says a number."""
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


async def read(request: Request, largest: int) -> bytes:
    """The whole body. One that is announced as too large is refused before a byte of it is read.

    Raises:
        TooMuch: more than `largest` bytes, announced or counted.
    """
    refusal = TooMuch(f"a body of more than {largest} bytes")
    announced = request.headers.get("content-length")
    if announced is not None and (announced_length(request) or 0 if len(announced) < 19 else largest + 1) > largest:
        raise refusal
    chunks, length = [], 0
    async for chunk in request.stream():
        length += len(chunk)
        if length > largest:
            raise refusal
        chunks.append(chunk)
    return b"".join(chunks)


async def read_as(request: Request, form: type[T]) -> T:
    """The body of a portal's call as `form`; an empty one counts as `{}`.

    Raises:
        Problem: 413 too large, 400 not JSON, 422 not of this form; the last names the field.
    """
    try:
        body = await read(request, LARGEST_CALL)
    except TooMuch as error:
        raise Problem(413, str(error)) from None
    try:
        return msgspec.json.decode(body.strip() or b"{}", type=form)
    except msgspec.ValidationError as error:
        place = _AT_FIELD.search(str(error))
        detail = _AT_FIELD.sub("", str(error))
        raise Problem(422, detail, field=place["field"] if place else None) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem(400, "the body is not JSON") from None
