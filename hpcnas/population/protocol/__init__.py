"""How workers and head exchange messages: connections, proof of the secret, framing, the head's service, the outbox."""
