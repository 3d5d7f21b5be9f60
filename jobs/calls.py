"""Calls to MLM, counted by how they ended."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from freshness.metrics import CALL_S, CALLS, Tally
from mlm_client.errors import MlmError

_HUMP = re.compile(r"(?<!^)(?=[A-Z])")


@contextmanager
def measured(tally: Tally, operation: str) -> Iterator[None]:
    """Count the call that the block makes: `ok`, or its error by the name it has in `mlm_client.errors`."""
    began, result = time.monotonic(), "ok"
    try:
        yield
    except MlmError as error:
        result = _HUMP.sub("_", type(error).__name__).lower()
        raise
    except BaseException:
        result = "broken_off"
        raise
    finally:
        tally.count(CALLS, operation, result)
        tally.observe(CALL_S, operation, seconds=time.monotonic() - began)
