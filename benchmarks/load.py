"""Sending load: requests rendered into a file, and what sends them run as a process of its own, one for a closed loop
and one for a fixed rate."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import wrk
from .generator import pack
from .processes import done


@dataclass(frozen=True)
class Outcome:
    """What came of one run: requests sent and answered in all, answers a second in the window, and the time they took
    in ms by share; the same by even and odd turns, if there were any."""

    sent: int
    answered: int
    per_s: float
    ms: Mapping[str, float]
    turns_ms: Sequence[Mapping[str, float]] = ()

    def accounts_for(self, count: int) -> bool:
        """Whether so many can have been taken: each that was answered, and maybe those under way at the end."""
        return self.answered <= count <= self.sent


def request(port: int, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """One POST, as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", f"host: 127.0.0.1:{port}", "content-type: application/json"]
    lines += [f"content-length: {len(body)}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def closed(
    requests: Iterable[bytes], port: int, file: Path, *, connections: int, seconds: int, warm_s: int = 1
) -> Outcome:
    """Send these requests, on each connection the next once the last is answered. Those under way at the end are cut
    off.

    Raises:
        RuntimeError: anything was answered other than 200, or lost, or the requests did not last; or there is no wrk.
    """
    wrk.install()
    file.write_bytes(pack(iter(requests)))
    warm = wrk.run(file, 0, port, connections, warm_s)
    told = wrk.run(file, warm["next"], port, connections, seconds)
    file.unlink()
    sent, answered = (warm[each] + told[each] for each in ("sent", "answered"))
    for each in (warm, told):
        if each["not_200"] or each["lost"]:
            raise RuntimeError(f"not all were answered 200: {each['not_200']} otherwise, {each['lost']} not at all")
        if each["ran_out"]:
            raise RuntimeError(f"{sent} requests did not last for {warm_s + seconds} s")
    return Outcome(sent, answered, told["answered"] / (told["took_us"] / 1e6), told["ms"])


def paced(
    requests: Iterable[bytes],
    port: int,
    file: Path,
    *,
    connections: int,
    seconds: float,
    rate: float,
    warm_s: float = 1,
    turn_s: float | None = None,
) -> Outcome:
    """Send these requests at a fixed rate, whatever the server does; `turn_s` long is a turn. All are answered.

    Raises:
        RuntimeError: anything was answered other than 200, or the requests did not last.
    """
    file.write_bytes(pack(iter(requests)))
    job = {
        "requests": str(file), "port": port, "connections": connections,
        "seconds": seconds, "warm_s": warm_s, "rate": rate, "turn_s": turn_s,
    }  # fmt: skip
    told: dict[str, Any] = json.loads(done([sys.executable, "-m", "benchmarks.generator"], os.environ, json.dumps(job)))
    file.unlink()
    if set(told["statuses"]) != {"200"}:
        raise RuntimeError(f"not all were answered 200: {told['statuses']}")
    if told["ran_out"]:
        raise RuntimeError(f"{told['answered']} requests did not last for {warm_s + seconds:g} s")
    return Outcome(told["answered"], told["answered"], told["per_s"], told["ms"], told["turns_ms"])
