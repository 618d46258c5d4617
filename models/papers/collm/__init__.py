"""CoLLM: placeholder."""
