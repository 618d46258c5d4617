"""Our images, made by their Dockerfiles' own commands and run as containers would run them. Packages are downloaded."""

import json
import re
import threading
from pathlib import Path

import pytest
import yaml
from support.images import Image, build, require_layers, running
from support.processes import wait_until

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
BUILDERS = {"pip", "setuptools", "wheel"}
OFFLINE = {"torch", "transformers", "vllm", "polars", "peft", "scipy", "implicit", "ray", "locust"}


def megabytes_of(image: Image) -> float:
    files = (path for path in (image.layer / "u/opt/localrec").rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files) / 2**20


@pytest.mark.slow
def test_gateways_image_serves_from_a_read_only_root_and_ends_well(tmp_path: Path) -> None:
    require_layers(tmp_path)
    image = build("gateway", tmp_path)
    assert {"localrec", "fastapi", "faiss-cpu", "opentelemetry-sdk"} <= image.packages.keys()
    assert not (BUILDERS | OFFLINE) & image.packages.keys()
    assert json.loads((image.layer / "u/opt/localrec/share/sbom/packages.json").read_text())["installed"]
    site = image.layer / "u/opt/localrec/lib/python3.11/site-packages"
    assert not [path.name for path in site.iterdir() if path.name.lower() in BUILDERS | OFFLINE]
    assert megabytes_of(image) < 400

    said = COMPOSE["gateway"]["environment"]
    env = {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in said.items()}
    (tmp_path / "bundles").mkdir()
    with running(image, {"/bundles": tmp_path / "bundles"}, env) as gateway:
        output: list[bytes] = []
        reader = threading.Thread(target=lambda: output.extend(gateway.process.stdout or []))
        reader.start()
        wait_until(gateway.healthy, 60, what="health check")
        assert "localrec_requests_in_flight" in gateway.ask("http://127.0.0.1:8080/metrics")
        assert '"workers"' in gateway.ask("http://127.0.0.1:8081/admin/workers")
        assert gateway.writes("/tmp/a")  # noqa: S108 - the container's own
        assert not gateway.writes("/home/localrec/a")
        assert not gateway.writes("/bundles/a")
        assert gateway.stop(20) == 0
        reader.join()
    assert b"Traceback" not in b"".join(output)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "command", "says"),
    [
        ("engine", ["localrec", "serve", "engine", "--help"], "hot-swapped LoRA adapters"),
        ("trainer", ["localrec", "run", "--help"], "All stages from the data to the bundle"),
        ("loadtest", ["python", "-m", "loadtests", "--help"], "--expect-workers"),
    ],
)
def test_image_starts_its_program(name: str, command: list[str], says: str, tmp_path: Path) -> None:
    require_layers(tmp_path)
    image = build(name, tmp_path)
    assert "localrec" in image.packages
    assert not BUILDERS & image.packages.keys()
    with running(image, {}, {}, command) as container:
        output, _ = container.process.communicate(timeout=60)
    assert container.process.returncode == 0
    assert says in " ".join(output.decode().split())
