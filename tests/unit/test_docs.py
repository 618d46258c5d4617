"""The documents: their commands, flags, links and names exist. What can be run is run by tests/e2e/test_docs_run.py."""

import csv
import importlib.util
import re
from pathlib import Path

import pytest
from support.documents import Block, blocks_of, commands_of, fault_of, spans_of

from localrec.api_reference import REFERENCE, reference
from localrec.cli import cli
from localrec.stack import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
GUIDES = [page for page in PAGES if page.name not in ("LOG.md", "api-reference.md")]  # the log tells what was then
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_PATH = re.compile(r"(?:service|models|localrec|deploy|tests|scripts|loadtests|docs)/[\w./*-]*\w/?")


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", GUIDES, ids=named)
def test_every_command_exists_and_has_its_flags(page: Path):
    text = page.read_text()
    code = [*(block.text for block in blocks_of(text)), *spans_of(text)]
    faults = {" ".join(c): fault_of(c, ROOT) for part in code for c in commands_of(part)}
    assert {command: fault for command, fault in faults.items() if fault} == {}


@pytest.mark.parametrize("page", [DOCS / "operations.md", ROOT / "deploy/k8s/README.md"], ids=named)
def test_what_makes_the_namespace_is_applied_first(page: Path):
    commands = (command for block in blocks_of(page.read_text()) for command in commands_of(block.text))
    applied = [command[command.index("-k") + 1] for command in commands if "-k" in command]
    assert len(applied) > 3
    assert applied[0].startswith("deploy/k8s/overlays/")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path):
    assert [link for link in _LINK.findall(page.read_text()) if not leads_somewhere(page, link)] == []


@pytest.mark.parametrize(
    "page", [DOCS / "add-a-pipeline.md", DOCS / "architecture.md", DOCS / "internals.md"], ids=named
)
def test_every_file_that_is_named_exists(page: Path):
    paths = _PATH.findall("\n".join(spans_of(page.read_text())))
    assert len(paths) > 5
    assert [path for path in paths if not exists(path)] == []


def test_every_name_of_the_guide_to_a_pipeline_is_in_the_file_beside_it():
    """Rows of its tables: a file, and the names to look for in it."""
    rows = [line.split("|") for line in (DOCS / "add-a-pipeline.md").read_text().splitlines() if line.startswith("| `")]
    assert len(rows) > 8
    for _, file, names, *_ in rows:
        (path,) = re.findall(r"`([^`]+)`", file)
        text = "\n".join(f.read_text() for f in files_of(path))
        assert [name for name in re.findall(r"`([^`]+)`", names) if name not in text] == [], path


def test_the_api_reference_is_what_the_api_says():
    cli.main(["openapi", "--markdown", str(ROOT / REFERENCE), "--check"], standalone_mode=False)


def test_two_models_of_one_name_are_refused():
    ports = {port: {"paths": {}, "components": {"schemas": {"Item": {"type": port}}}} for port in ("string", "number")}
    with pytest.raises(ValueError, match="model Item"):
        reference(ports)


def test_another_api_reference_is_refused(tmp_path: Path):
    changed = tmp_path / "page.md"
    changed.write_text((ROOT / REFERENCE).read_text().replace("/recommend", "/suggest", 1))
    with pytest.raises(Exception, match="is not what the API says; run localrec openapi --markdown"):
        cli.main(["openapi", "--markdown", str(changed), "--check"], standalone_mode=False)


def test_the_tutorials_data_are_what_their_program_makes(tmp_path: Path):
    place = DOCS / "examples" / "shop.py"
    spec = importlib.util.spec_from_file_location("shop", place)
    assert spec is not None
    assert spec.loader is not None
    shop = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shop)
    shop.main(tmp_path / "shop.csv")
    assert (tmp_path / "shop.csv").read_bytes() == place.with_suffix(".csv").read_bytes()
    with (tmp_path / "shop.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len({row["sku"] for row in rows}) == 150
    assert len({row["customer"] for row in rows}) == 300


def test_the_index_names_every_page():
    index = (DOCS / "README.md").read_text()
    assert [page.name for page in PAGES[1:] if page.name != "README.md" and f"({page.name})" not in index] == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("localrec serve stack --run runs/x | tail", ""),
        ("localrec serve stock", "serve has no stock"),
        ("A=1 localrec run --runn x", "run knows no --runn"),
        ("localrec run \\\n  --bundle=x", "run knows no --bundle"),
        ("scripts/demo --twice", "demo knows no --twice"),
        ("scripts/dance", "there is no scripts/dance"),
        ("docker-compose --profile cpu up -d", ""),
        ("docker-compose --profile tpu up -d", "docker-compose.yml has no tpu"),
        ("docker-compose run --rm trainer publish /bundles/ID --activated", "publish knows no --activated"),
        ("docker-compose run --rm coach", "docker-compose.yml has no coach"),
        ("kubectl apply -k deploy", ""),
        ("kubectl apply -k deploy/nowhere", "there is no deploy/nowhere"),
    ],
)
def test_a_command_that_does_not_exist_is_found(text: str, fault: str):
    assert [fault_of(command, ROOT) for command in commands_of(text)] == [fault]


def test_blocks_have_their_comments():
    text = "<!-- not run: needs a GPU -->\n```sh\na\n```\n\n```console\n$ b\n```\n"
    assert blocks_of(text) == [Block("sh", "a\n", "not run: needs a GPU"), Block("console", "$ b\n")]
    with pytest.raises(ValueError, match="expected 'not run"):
        blocks_of("<!-- skipped -->\n```sh\na\n```\n")


def leads_somewhere(page: Path, link: str) -> bool:
    if link.startswith("http"):
        return True
    path, _, anchor = link.partition("#")
    target = (page.parent / path) if path else page
    return target.exists() and (not anchor or anchor in anchors(target.read_text()))


def anchors(text: str) -> set[str]:
    """Of the headings, as they are made on the web: lower case, no punctuation, hyphens for spaces."""
    kept = (re.sub(r"[^\w\s-]", "", heading.lower()) for heading in _HEADING.findall(text))
    return {heading.strip().replace(" ", "-") for heading in kept}


def exists(path: str) -> bool:
    return bool(files_of(path)) if "*" in path else (ROOT / path).exists()


def files_of(path: str) -> list[Path]:
    """The files of a path, of a folder all Python files below it."""
    place = ROOT / path
    if place.is_dir():
        return sorted(place.rglob("*.py"))
    return sorted(ROOT.glob(path))
