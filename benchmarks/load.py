"""Sending load: requests rendered into a file, and the generator run on them as a process of its own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .generator import pack
from .processes import done


@dataclass(frozen=True)
class Outcome:
    """What came of one run: answers in all, answers a second in the window, and the time they took in ms by share; the
    same by even and odd turns, if there were any."""

    answered: int
    per_s: float
    ms: Mapping[str, float]
    turns_ms: Sequence[Mapping[str, float]] = ()


def request(port: int, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """One POST, as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", f"host: 127.0.0.1:{port}", "content-type: application/json"]
    lines += [f"content-length: {len(body)}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def send(
    requests: Iterable[bytes],
    port: int,
    file: Path,
    *,
    connections: int,
    seconds: float,
    warm_s: float = 1.0,
    rate: float | None = None,
    turn_s: float | None = None,
) -> Outcome:
    """Send these requests, closed loop or at a fixed rate, for as long as it says; `turn_s` long is a turn.

    Raises:
        RuntimeError: anything was answered other than 200, or the requests did not last.
    """
    file.write_bytes(pack(iter(requests)))
    job = {
        "requests": str(file), "port": port, "connections": connections,
        "seconds": seconds, "warm_s": warm_s, "rate": rate, "turn_s": turn_s,
    }  # fmt: skip
    told = json.loads(done([sys.executable, "-m", "benchmarks.generator"], os.environ, json.dumps(job)))
    file.unlink()
    if set(told["statuses"]) != {"200"}:
        raise RuntimeError(f"not all were answered 200: {told['statuses']}")
    if told["ran_out"]:
        raise RuntimeError(f"{told['answered']} requests did not last for {warm_s + seconds:g} s")
    return Outcome(told["answered"], told["per_s"], told["ms"], told["turns_ms"])
