"""What MLM means by the words of an error. The one table to edit when a lender's MLM says it otherwise.

The vendor's wording is not public (ours, but where MLM's wire page says seen). The rules are tried from the top and
the first that fits wins, so that a sentence such as "not found, or access denied" never reads as *not found*: that
answer, twice, purges a file. For the same reason *not found* must be about a file, not about a field, a
user or a template. The words themselves go no further than this module.
"""

from __future__ import annotations

import re

from .errors import (
    AccessDenied,
    FileBusy,
    MlmError,
    NotFound,
    Outage,
    Rejected,
    SignInAgain,
    Throttled,
)

#: Characters of an error that are looked at.
WORDS_READ = 2_000

_TICKET = r"\b(?:s?ticket|token|session|sign-?in|log-?in|authentication)\b"
_SPENT = (
    r"\b(?:expired?|invalid|not valid|incorrect|refused|rejected|failed|missing|required|unknown|unrecogni[sz]ed|"
    r"not recogni[sz]ed|not found|timed out|revoked)\b"
)
_ABSENT = (
    r"\bnot (?:be )?found\b|\b(?:does|did) not exist\b|\bno longer exists\b|\bno such (?:loan|lead|file)\b|"
    r"\b(?:cannot|can't|could not|unable to) (?:find|locate) (?:the |a |any )?(?:loan|lead)\b|"
    r"\b(?:has been|was|is) deleted\b"
)
_OTHER_THINGS = (
    r"\b(?:fields?|collections?|applicants?|borrowers?|users?|accounts?|templates?|documents?|pages?|methods?|"
    r"operations?|columns?|tables?|objects?|paths?|director(?:y|ies)|procedures?|assembly|types?|keys?|app ?codes?|"
    r"endpoints?|resources?|programs?)\b|[a-z]:\\|\.(?:dll|config|xml|as[mp]x)\b"
)

_RULES: tuple[tuple[re.Pattern[str], type[MlmError], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), kind, why)
    for pattern, kind, why in (
        (rf"{_TICKET}.{{0,80}}?{_SPENT}|{_SPENT}.{{0,80}}?{_TICKET}", SignInAgain, "MLM refused the ticket"),
        (r"\b(?:unauthenticated|not authenticated)\b", SignInAgain, "MLM refused the ticket"),
        (r"\b(?:throttl|rate limit|too many (?:requests|calls))", Throttled, "MLM asks for fewer calls"),
        (
            r"\b(?:access|permission)s?\b.{0,40}\bdenied\b|\b(?:no|not have|lacks?|without|insufficient)\b.{0,20}"
            r"\b(?:access|permissions?|privileges?)\b|\bnot (?:authori[sz]ed|permitted|allowed)\b|\bunauthori[sz]ed\b",
            AccessDenied,
            "MLM denies access",
        ),
        (
            r"\b(?:being (?:edited|modified)|checked out|in use|locked) (?:by|for)\b|\b(?:loan|lead|file) is "
            r"(?:currently )?(?:locked|in use|open)\b",
            FileBusy,
            "somebody in MLM holds the file",
        ),
        (
            r"\b(?:try|retry)(?:ing)? (?:again|later)\b|\btemporar(?:y|ily)\b|\bdeadlock|\btime-?out\b|\btimed out\b|"
            r"\bunavailable\b|\bmaintenance\b",
            Outage,
            "MLM says that it cannot answer now",
        ),
        (rf"\A(?!.*(?:{_OTHER_THINGS})).*(?:{_ABSENT})", NotFound, "MLM has no such file"),
    )
)


def error_for(words: str) -> MlmError:
    """The error that an application error's words mean; words we do not know are `Rejected`."""
    return known(words) or Rejected("MLM answered with an error we do not know")


def fault_error(words: str, code: str, status: int | None) -> MlmError:
    """The error that a SOAP fault means: by its words, else by whose fault its code says it is.

    Only the sentence counts, not the stack trace that ASP.NET may hang on it. `code` is the local name of
    `faultcode` (1.1) or `Code/Value` (1.2): `Client`/`Sender` is ours, anything else MLM's.
    """
    error = known(re.split(r"\r?\n\s+at ", words, maxsplit=1)[0])
    if error is None:
        ours = code.lower() in ("client", "sender")
        error = Rejected("MLM refuses the call") if ours else Outage("MLM failed at the call")
    error.status = status
    return error


def known(words: str) -> MlmError | None:
    """The error that these words mean, None for words that no rule knows."""
    words = words[:WORDS_READ]
    for pattern, kind, why in _RULES:
        if pattern.search(words):
            return kind(why)
    return None
