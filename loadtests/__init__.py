"""Load tests: locust profiles, and the pure parts that their tests import without locust (which patches sockets)."""
