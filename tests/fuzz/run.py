"""`make fuzz`: every target under the fuzzer and every shape at its size limit, two processes at a time, then a table.

    run.py [--runs 1000000] [--keep] [target …]

`--runs` is the number of inputs of all targets together. What was found stands in `.freshness/fuzz/<target>/`, and
so does each target's log. `--keep` then adds to `tests/fuzz/corpus` what reached code that nothing there reaches.
Ends with 1 if anything was found.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from targets import CORPUS, TARGETS, Target
from words import WORDS

HERE = Path(__file__).parent
WORK = HERE.parent.parent / ".freshness" / "fuzz"
AT_ONCE = 2
SIZES = "sizes"

#: An input that hangs is one that takes this long by the clock on the wall, on a machine that may be busy.
HANGS_S = 60
#: Beyond this, one input's memory is a finding; the process itself may have 2 GB (`one_target`).
MOST_MEMORY_MB = 1024

_INPUTS = re.compile(r"number_of_executed_units: (\d+)|^inputs (\d+)", re.MULTILINE)
_FINDINGS = re.compile(r"^inputs \d+, findings (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Line:
    """A line of the table."""

    name: str
    inputs: int
    seconds: float
    findings: int
    memory_mb: int


def fuzz(name: str, target: Target, runs: int) -> Line:
    """One target, until it has had its share of the inputs or the first finding."""
    place = WORK / name
    (place / "corpus").mkdir(parents=True, exist_ok=True)
    options = [
        f"-runs={runs}",
        f"-max_len={target.longest}",
        f"-timeout={HANGS_S}",
        f"-rss_limit_mb={MOST_MEMORY_MB}",
        f"-dict={_dictionary(name)}",
        f"-artifact_prefix={place}/found-",
        "-print_final_stats=1",
        str(place / "corpus"),
        str(CORPUS / name),
    ]
    return _line(name, [str(HERE / "one_target.py"), name, *options])


def sizes() -> Line:
    """All shapes at their size limit."""
    return _line(SIZES, [str(HERE / "sizes.py")])


def keep(name: str) -> None:
    """Add to the kept corpus the least inputs that reach everything which those of this machine reach."""
    arguments = [
        str(HERE / "one_target.py"),
        name,
        "-set_cover_merge=1",
        str(CORPUS / name),
        str(WORK / name / "corpus"),
    ]
    with (WORK / name / "merge.log").open("wb") as log:
        subprocess.run([sys.executable, *arguments], stdout=log, stderr=log, check=True)


def _line(name: str, arguments: Sequence[str]) -> Line:
    (WORK / name).mkdir(parents=True, exist_ok=True)
    log = WORK / name / "log"
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, *arguments], stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    said = log.read_text("utf-8", "replace")
    inputs = [int(number or count) for number, count in _INPUTS.findall(said)]
    findings = [int(number) for number in _FINDINGS.findall(said)]
    line = Line(
        name,
        inputs[-1] if inputs else 0,
        time.monotonic() - began,
        max(findings[-1] if findings else 0, int(process.returncode != 0)),
        usage.ru_maxrss // 1024,
    )
    print(f"{name}: {'found something, see ' + str(log) if line.findings else 'nothing found'}", flush=True)
    return line


def _dictionary(name: str) -> Path:
    """The target's words in libFuzzer's form."""
    path = WORK / name / "words"
    words = ("".join(f"\\x{byte:02x}" for byte in word.encode("utf-8", "surrogatepass")) for word in WORDS[name])
    path.write_text("".join(f'"{word}"\n' for word in words))
    return path


def _table(lines: Sequence[Line], seconds: float) -> str:
    whole = Line(
        "together",
        sum(line.inputs for line in lines),
        seconds,
        sum(line.findings for line in lines),
        max(line.memory_mb for line in lines),
    )
    rows = [f"{'target':<12}{'inputs':>12}{'seconds':>10}{'findings':>10}{'peak memory':>14}"]
    rows += [
        f"{line.name:<12}{line.inputs:>12,}{line.seconds:>10.0f}{line.findings:>10}{line.memory_mb:>11,} MB"
        for line in (*lines, whole)
    ]
    return "\n".join(rows)


def main() -> int:
    """Fuzz, print the table; 1 if anything was found."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=1_000_000)
    options.add_argument("--keep", action="store_true")
    options.add_argument("targets", nargs="*", choices=[*TARGETS, SIZES, []])
    said = options.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("The fuzzer is missing: pip install 'mlm-freshness[fuzz]'", file=sys.stderr)
        return 2
    began = time.monotonic()
    names = said.targets or [SIZES, *TARGETS]
    share = sum(TARGETS[name].share for name in names if name in TARGETS)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [
            pool.submit(sizes)
            if name == SIZES
            else pool.submit(fuzz, name, TARGETS[name], round(said.runs * TARGETS[name].share / share))
            for name in names
        ]
        lines = [job.result() for job in jobs]
        if said.keep:
            list(pool.map(keep, [name for name in names if name in TARGETS]))
    print(_table(lines, time.monotonic() - began))
    return 1 if any(line.findings for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
