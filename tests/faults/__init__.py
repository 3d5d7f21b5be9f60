"""Faults on real processes, under a running load: `make faults`. What is survived, and how: docs/reliability.md.

house      the product as processes, with PostgreSQL, Valkey and a sandbox MLM of its own
account    the webhook's sender, and the account of every entry that was answered 2xx
load       outsiders' edits and own writes
watching   is every file current yet, does any lie, is anything missing
scene      what a fault is given, and what it gives back
network    hosts as network namespaces, whose cables can be pulled
hosts      the house on two of them
on_processes, on_redis, on_postgresql, on_mlm, on_webhooks, on_hosts      the faults
report     the table, on the screen and in docs/reliability.md
"""
