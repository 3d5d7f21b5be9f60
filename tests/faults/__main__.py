"""`python -m tests.faults [fault …]`: all, or those named; `--help` says what else."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from console.processes import ended_by_signals

from . import hosts, network, on_hosts, on_mlm, on_postgresql, on_processes, on_redis, on_webhooks, report
from .house import Standing
from .scene import Built, Fault, Line, warm_up

AWAY_S = 300.0


def faults(away_s: float = AWAY_S, old: str | None = None) -> dict[str, Fault]:
    """Every fault by name, in the order in which they run."""
    groups = (
        on_processes.FAULTS,
        on_redis.FAULTS,
        on_postgresql.FAULTS,
        on_mlm.faults(away_s),
        on_webhooks.FAULTS,
        on_hosts.faults(old),
    )
    return {fault.name: fault for group in groups for fault in group}


def main() -> int:
    """Run them, print the table; 1 if anything fell short."""
    options = _options()
    known = faults(options.away_s, options.old or on_hosts.upgraded_from())
    named = [known[name] for name in options.faults or known]
    if why_not := network.why_not():
        left_out = [fault.name for fault in named if fault.house is hosts.two_hosts]
        named = [fault for fault in named if fault.name not in left_out]
        print(f"left out: {', '.join(left_out) or 'nothing'}: {why_not}", file=sys.stderr)
    lines: list[Line] = []
    began, measured = time.monotonic(), report.measured_here()
    with ended_by_signals() as ended:
        lines = Faults(options.logs, quiet=options.json, shared_reads=not options.apart).run(named)
    if ended.by is not None:
        return 128 + ended.by
    if options.json:
        print(json.dumps(report.as_json(lines, measured), indent=2))
    else:
        print(f"\n{report.table(lines)}\n\n{len(lines)} faults in {(time.monotonic() - began) / 60:.0f} minutes")
    if options.write:
        report.write(lines, measured, list(known))
    return 0 if all(line.held for line in lines) else 1


class Faults:
    """Runs faults in turn on one house; on a new one for a fault of another, and after one that it did not come back
    from."""

    def __init__(self, logs: Path | None, quiet: bool, shared_reads: bool) -> None:
        self._logs = logs
        self._shared_reads = shared_reads
        self._out = sys.stderr if quiet else sys.stdout

    def run(self, faults: Sequence[Fault]) -> list[Line]:
        """Each fault's line. What a fault raises is a line that fell short."""
        lines: list[Line] = []
        left = list(faults)
        while left:
            with ExitStack() as stack:
                built = left[0].house
                house = self._standing(stack, built)
                while left and left[0].house is built:
                    lines.append(self._one(left.pop(0), house))
                    if not lines[-1].held:
                        break
        return lines

    def _standing(self, stack: ExitStack, built: Built) -> Standing:
        self._say("building the house, importing its files …")
        directory = self._logs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        directory.mkdir(parents=True, exist_ok=True)
        log = stack.enter_context((directory / f"house-{time.time():.0f}.log").open("w"))
        house = stack.enter_context(built(log, self._shared_reads))
        warm_up(house)
        return house

    def _one(self, fault: Fault, house: Standing) -> Line:
        self._say(f"{fault.name}: {fault.struck} …")
        began = time.monotonic()
        try:
            line = fault.run(house, fault)
        except Exception as error:  # noqa: BLE001  (what cannot be measured fell short; the others are measured)
            traceback.print_exc()
            line = Line(fault.name, fault.struck, "none", "–", False, short=[f"{type(error).__name__}: {error}"])
        self._say(f"{report.in_full(line)}\n  took {time.monotonic() - began:.0f} s")
        return line

    def _say(self, text: str) -> None:
        print(text, file=self._out, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="fault", help=f"of {', '.join(faults())}; none: all")
    parser.add_argument("--json", action="store_true", help="the lines as JSON on standard output")
    parser.add_argument("--write", action="store_true", help=f"put the table into {report.DOCUMENT.name}")
    parser.add_argument("--logs", type=Path, help="keep the processes' logs in this directory")
    parser.add_argument("--away-s", type=float, default=AWAY_S, help="how long MLM is away, in seconds (300)")
    old = "upgrade from this commit; by default from the newest release, else from before the newest migration"
    parser.add_argument("--old", metavar="COMMIT", help=old)
    parser.add_argument("--apart", action="store_true", help="with MLM_SHARED_READS=0: a call for each concern")
    options = parser.parse_args()
    if unknown := [name for name in options.faults if name not in faults()]:
        parser.error(f"no such fault: {', '.join(unknown)}; there are {', '.join(faults())}")
    return options


if __name__ == "__main__":
    sys.exit(main())
