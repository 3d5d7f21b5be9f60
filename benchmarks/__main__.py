"""`python -m benchmarks [--json] [--write] [--rounds N] [group …]`: all groups, or those named."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
import traceback
from dataclasses import replace

import structlog

from console.processes import ended_by_signals

from . import quarter, report
from .groups import GROUPS
from .stolen import Watch
from .table import Measured

ROUNDS = 3


def main() -> int:
    """Measure, print the table; 1 if a mark was missed or a group could not be measured."""
    options = _options()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))  # what runs in here
    run, began = report.run_here(options.rounds), time.monotonic()
    measured: dict[str, Measured] = {}
    with ended_by_signals() as ended, quarter.kept():
        for name in options.groups or GROUPS:
            _say(f"{name} …")
            began_group, watch = time.monotonic(), Watch()
            try:
                result = GROUPS[name].run(options.rounds, lambda text: _say(f"  {text}"))
            except Exception:  # noqa: BLE001  (the others are measured)
                traceback.print_exc()
                _say(f"  {name} could not be measured")
                continue
            measured[name] = replace(result, took_s=time.monotonic() - began_group, stolen=watch.stolen())
            _say(f"  took {measured[name].took_s:.0f} s, {measured[name].stolen:.1%} of the processors stolen")
            if options.write:
                report.write(name, measured[name], run)
    if ended.by is not None:
        return 128 + ended.by
    if options.json:
        print(json.dumps(report.as_json(measured, run), indent=2))
    else:
        _print(measured, time.monotonic() - began)
    complete = len(measured) == len(options.groups or GROUPS)
    return 0 if complete and all(row.held for each in measured.values() for row in each.rows) else 1


def _print(measured: dict[str, Measured], took_s: float) -> None:
    for name, each in measured.items():
        print(f"\n{name}\n{report.table(each.rows)}\n{report.figures(each.figures)}")
    print(f"\n{len(measured)} groups in {took_s / 60:.0f} minutes")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="group", help=f"of {', '.join(GROUPS)}; none: all")
    parser.add_argument("--json", action="store_true", help="everything as JSON on standard output")
    parser.add_argument("--write", action="store_true", help=f"put tables and pictures into {report.DOCUMENT.name}")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each measurement ({ROUNDS})")
    options = parser.parse_args()
    if unknown := [name for name in options.groups if name not in GROUPS]:
        parser.error(f"no such group: {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
