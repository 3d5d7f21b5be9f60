"""Every table of the product, on one metadata."""

from . import backstops, house, ledger, metrics, portal, receipts, senders
from .base import Base

__all__ = ["Base", "backstops", "house", "ledger", "metrics", "portal", "receipts", "senders"]
