"""What the service recorded: taken out of Redis, and turned into experiments' results and training data."""
