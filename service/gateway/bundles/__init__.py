"""Bundles in service: loaded, verified, switched."""
