"""Messages between workers and head: connections, proof of the secret, framing, the head's service, the outbox."""
