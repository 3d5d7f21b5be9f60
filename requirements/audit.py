"""Asks which of the locked packages have known vulnerabilities, by pip-audit. Run by `make audit`.

Exits 1 if there are any. Where the service that knows them cannot be reached it says that no audit was made, and exits
0: an audit that could not be asked for is no vulnerability, and no good news either.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

LOCKS = ("run.txt", "dev.txt")


def audited(lock: Path) -> list[str]:
    """A line for each vulnerability. What nobody could be asked of is said on standard error."""
    argv = [sys.executable, "-m", "pip_audit", "--requirement", lock, "--disable-pip", "--require-hashes"]
    done = subprocess.run([*argv, "--format=json", "--progress-spinner=off"], capture_output=True, text=True)  # noqa: S603
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        _say_that_none_was_made(lock, (done.stderr.strip().splitlines() or ["it said nothing"])[-1])
        return []
    skipped = [each for each in packages if "skip_reason" in each]
    if skipped:
        _say_that_none_was_made(lock, f"{len(skipped)} of {len(packages)} packages: {skipped[0]['skip_reason']}")
    print(f"{lock.name}: {len(packages) - len(skipped)} of {len(packages)} packages audited")
    return [
        f"{each['name']} {each['version']}: {hole['id']}, mended in {', '.join(hole['fix_versions']) or 'none yet'}"
        for each in packages
        for hole in each.get("vulns", ())
    ]


def main() -> int:
    """Audit every lock."""
    holes = sorted({hole for name in LOCKS for hole in audited(Path(__file__).with_name(name))})
    for hole in holes:
        print(hole)
    return 1 if holes else 0


def _say_that_none_was_made(lock: Path, why: str) -> None:
    print(f"NO AUDIT WAS MADE of {lock.name}: {why[:300]}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
