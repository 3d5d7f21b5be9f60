"""Inputs of the largest size that is taken, in the shapes that cost parsers most: what they cost must not explode.

    sizes.py [--part 16] [target …]     at a sixteenth of the size limit; all targets

Each shape is measured in a process of its own, at its largest size and at an eighth of that. Per byte the larger may
cost at most `MOST_TIMES` what the smaller does (a square would be 8), and neither more time or memory than `BOUNDS`
says. Where a parser takes only so many elements, that is the largest size, and the size limit itself is tried too.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from shapes import SHAPES, TEXT_BYTES, Shape
from targets import TARGETS

from mlm_client.hardened import MAX_BYTES
from receiver.bodies import LARGEST_DELIVERY

MEMORY_BYTES = 2 * 1024**3
MOST_TIMES = 4.0
#: Below this, what is measured is noise.
TOO_SHORT_S = 0.1


@dataclass(frozen=True)
class Bound:
    """The largest input of a target, in bytes, and what one may cost: seconds of CPU, MB beyond the process itself."""

    largest: int
    cpu_s: float
    memory_mb: int


BOUNDS = {
    "batches": Bound(LARGEST_DELIVERY, 10, 512),
    "stamps": Bound(LARGEST_DELIVERY, 5, 128),
    "values": Bound(TEXT_BYTES, 10, 512),
    "loxml": Bound(MAX_BYTES, 20, 512),
    "results": Bound(MAX_BYTES, 20, 512),
    "soap": Bound(MAX_BYTES, 20, 512),
    "tickets": Bound(MAX_BYTES, 5, 128),
    "hydrators": Bound(4 * 1024**2, 20, 512),
}


def findings_of(target: str, shape: Shape, part: int) -> tuple[int, list[str]]:
    """How many inputs of the shape were tried, and what was found."""
    bound = BOUNDS[target]
    fits = shape.count(bound.largest // part)
    most = min(fits, shape.taken())
    small, large = shape.of(max(1, most // 8)), shape.of(most)
    inputs = [small, large] if most == fits else [small, large, shape.of(fits)]
    costs = []
    for data in inputs:
        cost = _measured(TARGETS[target].run, data, bound)
        if isinstance(cost, str):
            return len(costs) + 1, [f"{len(data)} bytes: {cost}"]
        costs.append(cost)
    for _ in range(3):
        times = (costs[1] / len(large)) / (costs[0] / len(small))
        if times <= MOST_TIMES or costs[1] < TOO_SHORT_S:
            return len(costs), []
        again = [_measured(TARGETS[target].run, data, bound) for data in (small, large)]
        costs = [min(before, now) for before, now in zip(costs, again, strict=False) if not isinstance(now, str)]
    return len(inputs), [f"a byte of {len(large)} costs {times:.1f} times what one of {len(small)} does"]


def _measured(run: Callable[[bytes], None], data: bytes, bound: Bound) -> float | str:
    """The CPU seconds that one input takes, the least of some; or what is wrong with it. In a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os._exit(_child(run, data, bound, writing))
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    _, status, usage = os.wait4(child, 0)
    if os.WIFSIGNALED(status):
        return (
            f"ended by {signal.Signals(os.WTERMSIG(status)).name} after {usage.ru_utime + usage.ru_stime:.0f} s of CPU"
        )
    kind, _, rest = said.partition(" ")
    return float(rest) if kind == "took" else rest


def _child(run: Callable[[bytes], None], data: bytes, bound: Bound, pipe: int) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (int(bound.cpu_s * 2), int(bound.cpu_s * 2) + 5))
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        took = min(_timed(run, data))
        grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) // 1024
        said = f"took {took}"
        if took > bound.cpu_s:
            said = f"found {took:.1f} s of CPU, more than {bound.cpu_s}"
        elif grown_mb > bound.memory_mb:
            said = f"found {grown_mb} MB, more than {bound.memory_mb}"
    except BaseException as error:  # noqa: BLE001  whatever it is, it is a finding
        said = f"found {type(error).__name__}: {str(error)[:200]}"
    os.write(pipe, said.encode())
    return 0


def _timed(run: Callable[[bytes], None], data: bytes) -> Iterator[float]:
    """Short runs are repeated: the least of three, or of as many as fit into a twentieth of a second."""
    spent = 0.0
    while spent < 0.05:
        began = time.thread_time()
        run(data)
        took = time.thread_time() - began
        yield took
        spent += max(took, 0.05 / 3)


def main() -> int:
    """Try all shapes; 1 if anything was found."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--part", type=int, default=1)
    options.add_argument("targets", nargs="*")
    said = options.parse_args()
    gc.freeze()  # or the first collection in each child would pay for a copy of all that it shares
    inputs, found = 0, 0
    for target in said.targets or SHAPES:
        for name, shape in SHAPES[target].items():
            tried, findings = findings_of(target, shape, said.part)
            inputs += tried
            found += len(findings)
            for finding in findings:
                print(f"{target}, {name}: {finding}", flush=True)
    print(f"inputs {inputs}, findings {found}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
