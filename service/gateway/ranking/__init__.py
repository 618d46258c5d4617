"""From a query to an answer. Sees protocols only."""
