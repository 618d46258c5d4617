"""``localrec capacity``: the highest rate that keeps the service level, what a request costs, and what limits first."""
