"""Every metric of the gateway, and nothing else: prefix ``localrec_``, base units, bounded labels."""

from service.gateway.telemetry.telemetry import PROCESSES, RequestLabels, Telemetry

__all__ = ["PROCESSES", "RequestLabels", "Telemetry"]
