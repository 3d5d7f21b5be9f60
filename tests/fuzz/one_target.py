"""One target under the fuzzer, in a process of its own: `one_target.py NAME`, then libFuzzer's options and folders.

The process may have 2 GB of memory and not a byte more: a runaway input ends in a MemoryError, not the machine.
"""

from __future__ import annotations

import random
import resource
import sys

import atheris

MEMORY_BYTES = 2 * 1024**3
PACKAGES = ["freshness", "hydrators", "mlm_client", "receiver"]


def grown(data: bytes, longest: int, seed: int) -> bytes:
    """The input changed by libFuzzer or, one time in eight, with a part of it repeated: what costs too much mostly
    costs it by repetition, and libFuzzer alone rarely repeats anything often."""
    dice = random.Random(seed)
    if len(data) < 2 or dice.random() > 1 / 8:
        return bytes(atheris.Mutate(data, longest))
    begin, end = sorted((dice.randrange(len(data)), dice.randrange(len(data))))
    part = data[begin : end + 1]
    room = max(longest - len(data), 0) // len(part)
    return (data[:begin] + part * dice.randint(1, room + 1) + data[end + 1 :])[:longest]


def main() -> None:
    """Fuzz until the options say stop, or until the first finding."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=PACKAGES, enable_loader_override=False):
        import targets
    target = targets.TARGETS[name]
    atheris.Setup(sys.argv, lambda data: targets.guarded(target.run, data), custom_mutator=grown)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
