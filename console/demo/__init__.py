"""A day in the life of a portal's copy, acted out on the real parts: `freshness up --demo`."""
