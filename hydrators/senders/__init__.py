"""What other senders' payloads carry, as rows: one module a sender, known here by nothing but that."""
