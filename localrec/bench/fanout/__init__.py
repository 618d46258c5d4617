"""``localrec bench fanout``: what nine adapters cost, against one, against stock vLLM, under load, beside loads."""
