"""HTTP in: who may knock, what a batch says, what the portal asks, and what its pages hear.

The rooms, in the order a request passes them: `doors` (token, networks), `bodies` (reading one within a limit),
`decoding` (a batch becomes entries), then a route of `webhook`, `portal`, `events` or `health`, which hands the
work to the ledger in one transaction through `desk`. `problems` makes every error a document. `app` puts it
together, `server` runs it.
"""
