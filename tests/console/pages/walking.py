"""A walk over all pages that links lead to, as somebody who is signed in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import httpx

BEGIN = ("/console/", "/console/search?q=R0000", "/console/files?state=all")


def walk(web: httpx.Client, begin: Sequence[str] = BEGIN) -> Iterator[tuple[str, str]]:
    """Each page once, from these on: its address and its text."""
    seen, ahead = set(), list(begin)
    while ahead:
        path = ahead.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = web.get(path)
        assert answer.status_code == 200, (path, answer.status_code)
        yield path, answer.text
        links = re.findall(r'href="(/console/[^"#]*)"', answer.text)
        ahead += [link.replace("&amp;", "&") for link in links if "static" not in link]
