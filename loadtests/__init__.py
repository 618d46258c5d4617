"""Load tests: open-loop traffic by locust, judged, and reported beside what the service measured of it.

``python -m loadtests`` is the command (``scripts/loadtest``), ``locustfile`` what locust runs. Modules without gevent
in them import no locust, which patches sockets.
"""
