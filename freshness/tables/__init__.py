"""Every table of the product, on one metadata."""

from . import house, ledger, portal, receipts
from .base import Base

__all__ = ["Base", "house", "ledger", "portal", "receipts"]
