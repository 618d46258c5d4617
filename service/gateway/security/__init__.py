"""Who may call: API keys, what they may ask for, and how often."""
