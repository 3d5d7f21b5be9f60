"""The commands of `freshness`, one module each, in the order in which the help shows them.

A new one: a module here with a click command named `command`, and a line in the table. The module is imported when
its command runs, and not for `freshness --help`, which so stays quick; the line of help stands here for that reason.
"""

from __future__ import annotations

#: name of the command → (module in this package, line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("up", "Run everything on this machine; --demo acts out a day."),
    "receiver": ("receiver", "Take MLM's webhook, portal calls and event streams."),
    "worker": ("worker", "Read what is stale back from MLM."),
    "scheduler": ("scheduler", "Ring for what is due, confirm what is quiet, prune."),
    "sandbox": ("sandbox", "Run an MLM on this machine, with made-up files."),
    "migrate": ("migrate", "Bring the database up to date."),
    "import": ("import_", "Read files from MLM, whole, many at a time."),
    "refresh": ("refresh", "Order a file to be read from MLM again."),
    "new-epoch": ("new_epoch", "Begin anew with files, after MLM was restored."),
    "explain": ("explain", "Say why a file is stale, on one screen."),
    "receipts": ("receipts", "List what MLM's webhooks came to."),
    "queues": ("queues", "Show what waits; `queues redrive` retries what was given up."),
    "replay": ("replay", "Decide receipts' entries once more."),
    "samples": ("samples", "Send the other senders' samples to a running instance."),
    "console-user": ("console_user", "Make an entry of CONSOLE_USERS for a person of the web console."),
    "rotate-keys": ("rotate_keys", "Seal everything anew with the newest key."),
    "doctor": ("doctor", "Look whether everything is in order, and say what to do."),
    "prune-webhook-receipts": ("prune", "Drop old receipts and trails."),
    "completion": ("completion", "Print what lets bash, zsh or fish complete this command."),
}
