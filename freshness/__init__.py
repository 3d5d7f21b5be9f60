"""What is fresh, and who decides: the protocol, the ledger in PostgreSQL, and what portal code calls after a write.

Pure at its heart (`stamp`, `guard`, `settling`, `confirming`, `readiness`, `state`, `concerns`: standard library only),
around it the ledger. Knows no HTTP, no SOAP, no queue.
"""

from .ledger.files import FileRef
from .portal import capture_mark, connect, own_write, seed_mark

__all__ = ["FileRef", "capture_mark", "connect", "own_write", "seed_mark"]
