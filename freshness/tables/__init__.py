"""Every table of the product, on one metadata."""

from . import backstops, console, house, ledger, metrics, portal, receipts, senders
from .base import Base

__all__ = ["Base", "backstops", "console", "house", "ledger", "metrics", "portal", "receipts", "senders"]
