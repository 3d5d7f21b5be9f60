"""Asks which of the locked packages have known vulnerabilities, by pip-audit. Run by `make audit`.

Exits 1 if there are any, and if pip-audit fails. Where the service that knows them cannot be reached, or knows nothing
of a package, it says that no audit was made, and exits 0: an audit that could not be asked for is no vulnerability, and
no good news either. With `AUDIT=required` that is an error too.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCKS = ("run.txt", "dev.txt")

#: What pip-audit ends with where nobody answers. A certificate that is not right is none of it.
NOBODY_THERE = re.compile(
    r"^requests\.exceptions\.(ConnectionError|ConnectTimeout|ReadTimeout|ProxyError): "
    r"|Could not connect to PyPI's vulnerability feed",
    re.MULTILINE,
)


class NotAudited(Exception):
    """Nobody could be asked; says why."""


class AuditFailed(Exception):
    """pip-audit did something else than audit; says what."""


def asked(lock: Path) -> list[dict[str, Any]]:
    """What pip-audit says of each package of a lock.

    Raises:
        NotAudited: the service that knows could not be reached.
        AuditFailed: pip-audit failed, or said what is no audit.
    """
    argv = [sys.executable, "-m", "pip_audit", "--requirement", lock, "--disable-pip", "--require-hashes"]
    done = subprocess.run([*argv, "--format=json", "--progress-spinner=off"], capture_output=True, text=True)  # noqa: S603
    last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1][:300]
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
        found = any(each["name"] and each.get("vulns") for each in packages)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise (NotAudited if NOBODY_THERE.search(done.stderr) else AuditFailed)(last) from None
    if not packages or done.returncode != int(found):
        raise AuditFailed(f"exit code {done.returncode} with {len(packages)} packages: {last}")
    return packages


def holes_of(lock: Path) -> list[str]:
    """A line for each known vulnerability.

    Raises:
        NotAudited: nothing is known of some packages, and the others have none.
        AuditFailed: see `asked`.
    """
    packages = asked(lock)
    skipped = [each for each in packages if "skip_reason" in each]
    print(f"{lock.name}: {len(packages) - len(skipped)} of {len(packages)} packages audited")
    holes = [
        f"{each['name']} {each['version']}: {hole['id']}, mended in {', '.join(hole['fix_versions']) or 'none yet'}"
        for each in packages
        for hole in each.get("vulns", ())
    ]
    if skipped and not holes:
        raise NotAudited(f"{len(skipped)} of {len(packages)} packages: {skipped[0]['skip_reason'][:300]}")
    return holes


def main() -> int:
    """Audit every lock."""
    holes, wrong = set(), False
    for name in LOCKS:
        try:
            holes |= set(holes_of(Path(__file__).with_name(name)))
        except NotAudited as why:
            print(f"NO AUDIT WAS MADE of {name}: {why}", file=sys.stderr)
            wrong |= os.environ.get("AUDIT") == "required"
        except AuditFailed as why:
            print(f"THE AUDIT FAILED of {name}: {why}", file=sys.stderr)
            wrong = True
    for hole in sorted(holes):
        print(hole)
    return 1 if holes or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
