"""A/B experiments: who gets which variant, and the file that says so."""
