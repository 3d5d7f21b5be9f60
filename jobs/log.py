"""Logging of every process: one line an event, JSON unless a person watches a terminal; ids, never data.

Records of libraries go the same way. No exception's text is ever logged, ours or a library's: it may quote a body.
A traceback is its exceptions' types and the places they passed.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Sequence
from types import TracebackType

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

#: Loggers that would log whole envelopes (zeep, at DEBUG), addresses (httpx), or a line a job (dramatiq, APScheduler)
#: or a step (Alembic).
QUIET = ("zeep", "zeep.transports", "httpx", "httpcore", "dramatiq", "apscheduler", "alembic")


def configure(process: str) -> None:
    """Set up logging for this process, named in every line (`receiver`, `worker`, …). Writes to stderr.

    Lines carry what `structlog.contextvars` holds. Call it once, first of all.
    """
    pretty = sys.stderr.isatty()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _naming(process),
        without_texts,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    sys.excepthook = _crashed
    threading.excepthook = lambda args: _crashed(args.exc_type, args.exc_value, args.exc_traceback)


def without_texts(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Put types and places where `exc_info` was."""
    exc_info = event.pop("exc_info", None)
    if exc_info is True:
        exc_info = sys.exc_info()
    elif isinstance(exc_info, BaseException):
        exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
    record = event.get("_record")
    if record is not None:
        record.exc_info = record.exc_text = None  # else the standard library's formatter adds its own
    if exc_info and exc_info[1] is not None:
        event["exception"] = _places(exc_info[1])
    return event


def _crashed(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """What Python would print of an error that nobody caught: a line like any other, without the error's text."""
    if error is not None and not issubclass(kind, (KeyboardInterrupt, SystemExit)):
        logging.getLogger(__name__).critical("crashed", exc_info=(kind, error, trace))


def _places(error: BaseException) -> Sequence[str]:
    """`Type at file:line < file:line`, innermost place first, for an error and each one that it came from."""
    lines = []
    seen: BaseException | None = error
    while seen is not None:
        frames = reversed(traceback.extract_tb(seen.__traceback__))
        lines.append(f"{type(seen).__name__} at " + " < ".join(f"{f.filename}:{f.lineno}" for f in frames))
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return lines


def _naming(process: str) -> Processor:
    def name(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    return name
