"""Maxwell: applications and milestones of its point of sale. One event a delivery, of one loan file, without an order.

An update or a milestone that comes before its file's creation is kept, and applied after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from freshness.settings import Settings
from hydrators.senders.maxwell import CREATED, EVENT, FILE_ID, KEYS, MaxwellHydrator
from hydrators.senders.said import label

from .aws import AwsSignature
from .oauth import IssuedTokens, token_route
from .proofs import AnyOf, ApiKey, Basic, Bearer, Proof, Signature
from .sender import Piece, Sender, Unusable

TOKEN_PATH = "/api/v1/senders/maxwell/token"  # noqa: S105 - a path


def maxwell(settings: Settings) -> Sender:
    """Maxwell proves itself in any of six ways: whichever are configured."""
    tokens = None
    if settings.maxwell_oauth_client_id and settings.maxwell_oauth_client_secret:
        tokens = IssuedTokens(
            settings.maxwell_oauth_client_id, settings.maxwell_oauth_client_secret, settings.maxwell_oauth_lifetime
        )
    proofs = _proofs(settings, tokens)
    return Sender(
        "maxwell",
        AnyOf(proofs) if proofs else None,
        _pieces,
        MaxwellHydrator(),
        routes=(token_route(TOKEN_PATH, tokens),),
    )


def _proofs(settings: Settings, tokens: IssuedTokens | None) -> tuple[Proof, ...]:
    found: list[Proof] = []
    if settings.maxwell_hmac_secret:
        header, encoding = settings.maxwell_signature_header, settings.maxwell_signature_encoding
        found.append(Signature(header, settings.maxwell_hmac_secret, "sha256", encoding))
    if settings.maxwell_basic:
        found.append(Basic(settings.maxwell_basic))
    if settings.maxwell_api_key:
        found.append(ApiKey(settings.maxwell_api_key_header, settings.maxwell_api_key))
    if settings.maxwell_token:
        found.append(Bearer(settings.maxwell_token))
    if tokens is not None:
        found.append(tokens)
    if settings.maxwell_aws_keys:
        keys = dict(pair.split(":", 1) for pair in settings.maxwell_aws_keys)
        region, service = settings.maxwell_aws_region, settings.maxwell_aws_service
        found.append(AwsSignature(keys, region, service, settings.maxwell_aws_window))
    return tuple(found)


def _pieces(said: Mapping[str, Any]) -> Sequence[Piece]:
    named = said.get(EVENT)
    event = named if isinstance(named, str) else None
    begins = (event or "").strip().lower() == CREATED
    try:
        subject = label(said.get(FILE_ID) or "")
    except ValueError:
        subject = None
    if not subject:
        raise Unusable("no loan file is named")
    return [Piece(event, "loan_file", subject, said, _number(said), begins=begins, follows=not begins)]


def _number(said: Mapping[str, Any]) -> str | None:
    try:
        return label(said.get(KEYS["loan_number"][0][0]) or "")
    except ValueError:
        return None
