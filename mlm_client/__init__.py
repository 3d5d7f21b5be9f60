"""How to speak MLM: OAuth ticket, SOAP, LOXml questions and answers, values, errors. Knows nothing of the portal.

client = MlmClient(MlmConfig(loan_service_url, token_url, client_id, client_secret))
answer = client.load_by_ref("R000123", Question(loan_fields=frozenset({"sLAmtCalc"})))
values.money(answer.fields["sLAmtCalc"])
"""

from __future__ import annotations

from . import values
from .client import MlmClient, MlmConfig
from .errors import (
    AccessDenied,
    FileBusy,
    GiveUp,
    MlmError,
    NotFound,
    Outage,
    Rejected,
    Retry,
    SignInAgain,
    SignInFailed,
    Throttled,
    TimedOut,
    TooLarge,
    Unreachable,
    UnreadableAnswer,
    UnsafeAnswer,
)
from .loxml import Answer, Applicant, Named, Question, Record, read_answer
from .polling import ModifiedFile
from .saving import ApplicantEdit, SaveContent, SaveResult
from .values import Unreadable

__all__ = [
    "AccessDenied",
    "Answer",
    "Applicant",
    "ApplicantEdit",
    "FileBusy",
    "GiveUp",
    "MlmClient",
    "MlmConfig",
    "MlmError",
    "ModifiedFile",
    "Named",
    "NotFound",
    "Outage",
    "Question",
    "Record",
    "Rejected",
    "Retry",
    "SaveContent",
    "SaveResult",
    "SignInAgain",
    "SignInFailed",
    "Throttled",
    "TimedOut",
    "TooLarge",
    "Unreachable",
    "Unreadable",
    "UnreadableAnswer",
    "UnsafeAnswer",
    "read_answer",
    "values",
]
