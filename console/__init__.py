"""What engineers use: the `freshness` command, and the servers and processes that `freshness up` starts."""
