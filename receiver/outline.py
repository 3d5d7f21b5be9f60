"""The outline of a body that we refused: its key names and how many bytes stand under each, never a value.

It is what a new lender's integration needs to see ("you call it `refNo`, we look for `referenceNumber`"), and it
must not become a leak: only what stands before a colon in a well-formed prefix is a key, and a key that does not
look like a name (an object keyed by account numbers, say) is shown by its length alone.
"""

from __future__ import annotations

import re
from typing import Any

#: One JSON string, closed or running to the end. Possessive, so that no body can make it try twice.
STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?'
_TOKEN = re.compile(STRING + rb"|[\[\]{}:,]", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_@$][\w@$.-]{0,63}", re.ASCII)

_MOST_KEYS = 40
_DEEPEST = 3
_MOST_BYTES = 65_536


def outline(body: bytes, sound_until: int | None = None) -> list[dict[str, Any]]:
    """The first 40 keys of the outermost three levels within the body's first 64 KiB, one for each name and level.

    Each is a `key`, the `level` it stands at (1 is outermost), and the most `bytes` that stand under it.

    `sound_until` is the byte up to which the body is well-formed JSON; behind it a text before a colon may be a
    value, so nothing behind it is looked at.
    """
    end = min(len(body) if sound_until is None else sound_until, _MOST_BYTES)
    keys: dict[tuple[int, str], int] = {}
    open_keys: dict[int, tuple[str, int]] = {}
    level, text = 0, b""

    def close(level: int, at: int) -> None:
        if level in open_keys:
            name, start = open_keys.pop(level)
            keys[level, name] = max(keys.get((level, name), 0), at - start)

    for token in _TOKEN.finditer(body, 0, end):
        mark = token[0]
        if mark == b":":
            if 1 <= level <= _DEEPEST and len(keys) + len(open_keys) < _MOST_KEYS:
                open_keys[level] = (_shown(text), token.end())
        elif mark == b",":
            close(level, token.start())
        elif mark in (b"}", b"]"):
            close(level, token.start())
            level -= 1
        elif mark in (b"{", b"["):
            level += 1
        else:
            text = mark
    for cut_off in sorted(open_keys):
        close(cut_off, end)
    return [
        {"key": name, "level": at, "bytes": size} for (at, name), size in sorted(keys.items(), key=lambda k: k[0][0])
    ]


def _shown(quoted: bytes) -> str:
    name = quoted.strip(b'"').decode("utf-8", "replace")
    return name if _NAME.fullmatch(name) else f"({len(name)} characters)"
