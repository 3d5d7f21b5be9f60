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


def audited(lock: Path) -> list[str] | None:
    """A line for each vulnerability; None if nobody could be asked."""
    argv = [sys.executable, "-m", "pip_audit", "--requirement", lock, "--disable-pip", "--require-hashes"]
    done = subprocess.run([*argv, "--format=json", "--progress-spinner=off"], capture_output=True, text=True)  # noqa: S603
    try:
        told = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        print(f"NO AUDIT WAS MADE of {lock.name}: {last[:300]}", file=sys.stderr)
        return None
    return [
        f"{each['name']} {each['version']}: {hole['id']}, mended in {', '.join(hole['fix_versions']) or 'none yet'}"
        for each in told["dependencies"]
        for hole in each.get("vulns", ())
    ]


def main() -> int:
    """Audit every lock."""
    holes: list[str] = []
    for name in LOCKS:
        found = audited(Path(__file__).with_name(name))
        if found is not None:
            print(f"{name}: {len(found)} known vulnerabilities")
            holes += found
    print("\n".join(sorted(set(holes))))
    return 1 if holes else 0


if __name__ == "__main__":
    sys.exit(main())
