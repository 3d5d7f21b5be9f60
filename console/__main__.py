"""`python -m console` is `freshness`, for a machine whose PATH does not have it."""

from .cli import main

main()
