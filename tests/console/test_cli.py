"""The command line from outside: what it prints, where, and how it exits."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import forked
import pytest

from console.commands import COMMANDS

BARE = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}


def freshness(*args: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return forked.run(*args, env=BARE | settings)


def started(*args: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*args), env=BARE | settings, capture_output=True, text=True, timeout=60)


def command(*args: str) -> list[str]:
    return [sys.executable, "-c", "from console.cli import main; main()", *args]


def one_line(text: str) -> str:
    assert text.count("\n") == 1, text
    return text.strip()


def test_the_help_lists_every_command_with_its_line() -> None:
    done = freshness("--help")
    assert done.returncode == 0
    for name, (_, line) in COMMANDS.items():
        assert re.search(rf"^  {re.escape(name)} +{re.escape(line[:20])}", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_module_and_a_help_of_its_own(name: str) -> None:
    done = freshness(name, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: freshness {name}")


def test_the_help_imports_no_database_no_queue_and_no_soap() -> None:
    code = (
        "import sys\nfrom console.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n"
        "    print(sorted({'sqlalchemy', 'dramatiq', 'zeep', 'rich', 'redis', 'starlette'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=BARE, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("args", [["no-such"], ["--no-such"], ["migrate", "surplus"], ["sandbox", "--port", "x"]])
def test_wrong_use_exits_2(args: list[str]) -> None:
    done = freshness(*args)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_missing_setting_is_one_line_that_names_it_and_exits_2() -> None:
    done = freshness("migrate")
    assert (done.returncode, done.stdout) == (2, "")
    assert one_line(done.stderr) == "freshness: DATABASE_URL: is not set, and is needed here"


def test_a_wrong_setting_is_one_line_that_names_it_and_exits_2() -> None:
    done = started("sandbox", MLM_RATE="often")
    assert done.returncode == 2
    assert one_line(done.stderr) == "freshness: MLM_RATE: must be a number (it is 'often')"


def test_migrate_brings_an_empty_database_up_to_date_and_may_run_again(empty_database_url: str) -> None:
    for run in (started, freshness):
        done = run("migrate", "--json", DATABASE_URL=empty_database_url)
        assert done.returncode == 0, done.stderr
        assert json.loads(one_line(done.stdout)).keys() == {"revision"}
    assert "up to date" in freshness("migrate", DATABASE_URL=empty_database_url).stdout


def test_a_database_that_is_away_is_one_line_without_its_password_and_exits_1() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"postgresql://someone:hush@127.0.0.1:{unused.getsockname()[1]}/x"
        done = freshness("migrate", DATABASE_URL=url)
    assert done.returncode == 1
    assert one_line(done.stderr).startswith("freshness: PostgreSQL: ")
    assert "hush" not in done.stderr


def test_the_sandbox_says_where_it_is_and_ends_in_good_order() -> None:
    with subprocess.Popen(
        command("sandbox", "--port", "0", "--files", "3", "--json"), env=BARE, stdout=subprocess.PIPE, text=True
    ) as process:
        told = json.loads(process.stdout.readline())
        with urllib.request.urlopen(told["MLM_LOAN_SERVICE_URL"] + "?wsdl", timeout=30) as answer:
            assert b"definitions" in answer.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_a_port_that_is_taken_is_one_line_and_exits_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = str(squatter.getsockname()[1])
        done = freshness("sandbox", "--port", port)
    assert done.returncode == 1
    assert one_line(done.stderr) == f"freshness: cannot listen on 127.0.0.1:{port}: Address already in use"


def completed(*words: str) -> list[str]:
    """What bash is offered for the last of these words."""
    asked = {"_FRESHNESS_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(("freshness", *words))}
    done = started(**asked, COMP_CWORD=str(len(words)))
    assert (done.returncode, done.stderr) == (0, "")
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_a_shell_completes_commands_options_and_their_values() -> None:
    assert completed("rec") == ["receiver", "receipts"]
    assert completed("queues", "redrive", "--dr") == ["--dry-run"]
    assert completed("receipts", "--outcome", "own") == ["own_echo"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_asks_this_command(shell: str) -> None:
    done = started("completion", shell)
    assert done.returncode == 0
    assert f"_FRESHNESS_COMPLETE={shell}_complete" in done.stdout
