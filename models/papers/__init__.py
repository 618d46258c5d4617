"""One package a paper: what the paper says, in its order, on the shared parts of ``models``."""
