"""The queue's side: bells, queues, pacing of calls to MLM, workers and the schedule. PostgreSQL holds what is due."""
