"""A finding: one thing that was looked at, how it is, and what to do about it."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import click

from console.output import plain


class State(StrEnum):
    """How something is: as it should be, worth a look, or broken."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at (`about`), how it is, in words, and what to do about it."""

    about: str
    state: State
    what: str
    do: str | None = None


def ok(about: str, what: str) -> Finding:
    """All is well with it."""
    return Finding(about, State.OK, what)


def warn(about: str, what: str, do: str | None = None) -> Finding:
    """It works, and somebody should look at it."""
    return Finding(about, State.WARN, what, do)


def fail(about: str, what: str, do: str | None = None) -> Finding:
    """It does not work."""
    return Finding(about, State.FAIL, what, do)


_COLOURS = {State.OK: "green", State.WARN: "yellow", State.FAIL: "red"}
_WIDEST = max(len(state) for state in State)


def tell(title: str, findings: Iterable[Finding]) -> None:
    """Print a part's findings for people, wrapped to a terminal's width, colours only there."""
    findings = list(findings)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    column = max(len(each.about) for each in findings)
    click.echo()
    click.secho(title, bold=True)
    for each in findings:
        state = click.style(f"{each.state:<{_WIDEST}}", fg=_COLOURS[each.state])
        indent = _WIDEST + column + 4
        texts = [*_wrapped(each.what, indent, width)]
        texts += [f"→ {line}" if n == 0 else f"  {line}" for n, line in enumerate(_wrapped(each.do, indent + 2, width))]
        click.echo(f"{state}  {plain(each.about):<{column}}  {texts[0]}")
        for text in texts[1:]:
            click.echo(" " * indent + text)


def _wrapped(text: str | None, indent: int, width: int) -> list[str]:
    if not text:
        return []
    return textwrap.wrap(plain(text), max(20, width - indent)) if width else [plain(text)]
