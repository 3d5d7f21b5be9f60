"""The ledger: the protocol's numbers in PostgreSQL, one module a verb.

    batches         a webhook's entries are decided, with their receipts and orders
    leases          a slice is taken: one at a time for a (file, concern)
    commits         a slice's read is settled, or its error written down
    own_writes      the portal's own writes: register, exit, capture_mark, seed_mark
    captures        the capture after an own write
    confirmations   the stamp alone is read, and what differs from it is ordered
    backstops, audits   whose turn it is, and what they came to; whole files held against our copy
    calibration     whether webhooks' stamps and reads' are one clock
    restores        MLM came back from a backup, an operator says
    files           files come, are ordered again, turn from lead to loan, and go
    sweeps          what is due and was not heard
    switches        concerns are switched off and on
    status          is this file fresh, and if not, why?
    receipts, deliveries, events, workers, imports   what is kept beside them
    weeks, pruning   the partitions of receipts: made ahead, dropped when they are old
    locks           how long who has not begun waits for a row

Locks are taken in one order: rows of loans, leads and their children, then own writes, then `file_freshness`, last,
several files in ascending id. Nothing is waited for after it. Every function that takes a connection runs inside
its caller's transaction.
"""
