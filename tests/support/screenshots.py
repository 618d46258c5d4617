"""``scripts/screenshots``: every page of the console as a picture, of a service that has something to show."""

import io
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from support.browser import NARROW, WIDE, running_browser, watched_page
from support.console import Console, running_console
from support.processes import wait_until

from localrec.processes import get, post, wait_for_workers
from models.contract.bundle import Bundle, verify_bundle
from models.contract.errors import LocalRecError
from models.contract.portrait import PORTRAIT

if TYPE_CHECKING:
    from playwright.sync_api import Page

MAX_BYTES = 200_000
COLOURS = 256  # of a picture's palette
MAX_HEIGHT = 1_800  # CSS pixels; what is below is cut off
REQUESTS = 300
REPORTED_USERS = 20_000
DEADLINE_MS = 1_000
SWITCH_SECONDS = 120.0
ATTEMPTS_MS = 90_000
# Name of the picture, route, what is there when the page has all that it shows, and the window.
PICTURES = (
    ("try", "try?user={user}", ".column-served .row", WIDE),
    ("try-phone", "try?user={user}", ".column-served .row", NARROW),
    ("compare", "compare?user={user}", ".column .row", WIDE),
    ("communities", "communities", "path.users", WIDE),
    ("experiments", "experiments", ".counter strong", WIDE),
    ("workers", "workers", ".replica .badge", WIDE),
    ("bundles", "bundles", "#quality table", WIDE),
)


def main(run: Path, out: Path) -> None:
    """Serve the bundle of a run and write ``console-NAME.png`` for each of :data:`PICTURES`.

    Raises LocalRecError where there is no bundle, or the page shows an error.
    """
    bundle = bundle_of(run)
    out.mkdir(parents=True, exist_ok=True)
    with (
        running_browser() as browser,
        tempfile.TemporaryDirectory(prefix="lr-") as directory,
        running_console(
            bundle, Path(directory), deadline_ms=DEADLINE_MS, reported_users=REPORTED_USERS, shows_broken=False
        ) as console,
    ):
        switch_there_and_back(console)
        user = users_of(console)[0]
        for name, route, there, viewport in PICTURES:
            with watched_page(browser, console.origin, viewport=viewport) as watched:
                watched.go(route.format(user=user))
                watched.page.locator(there).first.wait_for(timeout=ATTEMPTS_MS)
                if name == "experiments":
                    send_requests(console)
                    watched.page.wait_for_timeout(6_000)
                watched.page.wait_for_timeout(500)
                if watched.troubles:
                    raise LocalRecError(f"{route}: {'; '.join(watched.troubles)}")
                write(picture_of(watched.page, viewport), out / f"console-{name}.png")


def bundle_of(run: Path) -> Bundle:
    """The bundle that a run has built. Raises LocalRecError where there is none, or it has no portrait."""
    pointer = run / "bundle.json"
    if not pointer.exists():
        raise LocalRecError(f"{run}: no bundle; expected a run directory, such as scripts/demo --once makes")
    bundle = verify_bundle(run / "bundles" / json.loads(pointer.read_text())["bundle_id"])
    if not bundle.path(PORTRAIT).exists():
        raise LocalRecError(f"{bundle.id}: built before bundles had a portrait of their communities; build it anew")
    return bundle


def users_of(console: Console) -> list[str]:
    """Members of communities, those of most communities first."""
    portrait = json.loads(get(console.port, "/admin/communities")[1])
    members = [each for community in portrait["communities"] for each in community["members"]]
    return sorted(set(members), key=lambda user: (-members.count(user), members.index(user)))


def switch_there_and_back(console: Console) -> None:
    """So that there is a bundle to roll back to."""
    for wanted in (console.other, console.bundle.id):
        post(console.port, f"/admin/bundles/{wanted}/activate", None, timeout_seconds=SWITCH_SECONDS)
        wait_until(lambda wanted=wanted: in_service(console) == wanted, SWITCH_SECONDS, wanted)
    wait_for_workers(console.stack.gateway_port, SWITCH_SECONDS)


def in_service(console: Console) -> str | None:
    """The id of the bundle that is served."""
    bundle_id: str | None = json.loads(get(console.port, "/admin/bundles")[1])["in_service"]
    return bundle_id


def send_requests(console: Console) -> None:
    """What the counters of experiments count."""
    for number in range(REQUESTS):
        status, body = post(console.stack.gateway_port, "/recommend", {"user_id": str(number)})
        if status != 200:
            raise LocalRecError(f"POST /recommend: {status} {body.decode()}")


def picture_of(page: "Page", viewport: dict[str, int]) -> bytes:
    """The page from its top."""
    height = int(page.evaluate("document.documentElement.scrollHeight"))
    page.set_viewport_size({"width": viewport["width"], "height": min(height, MAX_HEIGHT)})
    page.wait_for_timeout(300)  # lines between lists are drawn anew
    return page.screenshot()


def write(picture: bytes, file: Path) -> None:
    """Save a picture with a palette that has its rare colours. Raises LocalRecError where it is too large."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(file, optimize=True)
    size = file.stat().st_size
    print(f"{file}: {image.width} × {image.height}, {size / 1e3:.0f} kB")
    if size > MAX_BYTES:
        raise LocalRecError(f"{file}: {size} bytes, expected at most {MAX_BYTES}")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except LocalRecError as error:
        sys.exit(f"screenshots: {error}")
