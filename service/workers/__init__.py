"""The gateway's side of the language model workers: client (one HTTP server), replica, pool, breaker."""
