"""What one of several processes does, from its start to its end."""

import os
import signal
import socket
import threading
from multiprocessing import parent_process
from multiprocessing.connection import Connection

from models.contract.errors import LocalRecError
from service.gateway.logs.records import start_logging
from service.gateway.processes.slot import Slot
from service.gateway.serve import run
from service.gateway.settings import Settings

STARTED = ""  # what a process says once it serves; else it says why it cannot
REFUSED_STATUS = 1


def serve_slot(slot: Slot, settings: Settings, listener: socket.socket, says: Connection) -> None:
    """Serve on the shared socket until a signal asks to stop, or the supervisor is gone.

    Args:
        slot: the place among the processes.
        settings: of the gateway; the operators' port among them is the process's own.
        listener: where all of them accept.
        says: takes ``STARTED``, or one line that says why the process cannot start.
    """
    start_logging(settings.logging.format, {"process": slot.number})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        run(settings, listener, slot, lambda: says.send(STARTED))
    except LocalRecError as exc:
        says.send(str(exc))
        raise SystemExit(REFUSED_STATUS) from exc


def _end_with_parent() -> None:
    """Nobody would restart what the supervisor left behind, nor free its port."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
