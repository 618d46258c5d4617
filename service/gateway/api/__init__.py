"""The HTTP endpoints: what crosses the wire, and who may call."""
