"""Redis: users' state, events, exposures."""
