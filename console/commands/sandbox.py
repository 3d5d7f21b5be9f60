"""`freshness sandbox`: an MLM on this machine."""

from __future__ import annotations

import os

import click

from console.errors import CannotListen
from console.output import json_option, lines, say
from freshness.settings import load
from mlm_client.sandbox.server import CLIENT_ID, CLIENT_SECRET, LOAN_PATH, TOKEN_PATH, run


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8900, show_default=True, help="0: any free one.")
@click.option("--files", type=click.IntRange(0, 10_000), default=25, show_default=True, help="How many it has.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed makes the same files.")
@click.option("--webhook-url", metavar="URL", help="Where it sends what changes; by default nowhere.")
@json_option
def command(host: str, port: int, files: int, seed: int, webhook_url: str | None, as_json: bool) -> None:
    """Run an MLM on this machine, with made-up files, until Ctrl-C.

    It takes the client of MLM_CLIENT_ID and MLM_CLIENT_SECRET, by default one of its own, and sends the first token
    of MLM_WEBHOOK_TOKEN with what changes. Files and knobs can be edited under /api.
    """
    settings = load(os.environ)
    client_id = settings.mlm_client_id or CLIENT_ID

    def started(base_url: str) -> None:
        places = {"MLM_LOAN_SERVICE_URL": base_url + LOAN_PATH, "MLM_TOKEN_URL": base_url + TOKEN_PATH}
        if as_json:
            lines([{**places, "MLM_CLIENT_ID": client_id, "api": f"{base_url}/api"}])
        else:
            say("\n".join(f"{name}={value}" for name, value in places.items()))
            say(f"Its files are at {base_url}/api/files, its knobs at {base_url}/api/knobs.")

    try:
        run(
            host,
            port,
            files=files,
            seed=seed,
            webhook_url=webhook_url,
            webhook_token=next(iter(settings.mlm_webhook_token), None),
            client_id=client_id,
            client_secret=settings.mlm_client_secret or CLIENT_SECRET,
            started=started,
        )
    except OSError as error:
        raise CannotListen(host, port, error) from None
