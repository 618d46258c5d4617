"""A process that ends TLS, wants a client's certificate, and passes everything on to a unix socket.

``python tls_front.py PORT SOCKET DIRECTORY``; certificates as :mod:`support.tls` makes them.
"""

import asyncio
import ssl
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path


async def serve(port: int, target: str, certificates: Path) -> None:
    """Serve until the process ends."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "ca.pem")
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    server = await asyncio.start_server(partial(_pass_on, target), "127.0.0.1", port, ssl=context)
    await server.serve_forever()


async def _pass_on(target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    there, back = await asyncio.open_unix_connection(target)
    with suppress(OSError):
        await asyncio.gather(_copy(reader, back), _copy(there, writer))


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(65_536):
        target.write(data)
        await target.drain()
    target.close()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
