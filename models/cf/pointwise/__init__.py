"""Collaborative models of labelled pairs, trained with binary cross-entropy: what CoLLM injects, and its baselines."""
