"""What operators read of files: a bundle's manifest, the report of the experiments. Blocking."""

from pathlib import Path
from typing import Any

import orjson

from models.contract.bundle import MANIFEST, open_bundle
from models.contract.errors import BundleError
from service.gateway.errors import ApiError

MAX_REPORT_BYTES = 16 * 1024 * 1024


def bundle_facts(directory: Path) -> dict[str, Any]:
    """What a bundle says of itself. Raises ApiError: there is none, or its manifest cannot be read."""
    if not (directory / MANIFEST).is_file():
        raise ApiError(404, "not_found", f"{directory.name} is not among the bundles of this gateway", "bundle_id")
    try:
        manifest = open_bundle(directory).manifest
    except BundleError as exc:
        raise ApiError(409, "bad_bundle", f"{directory.name}: {_without(directory, str(exc))}", "bundle_id") from exc
    return {
        "bundle_id": manifest.bundle_id,
        "created_at": manifest.created_at,
        "metrics": manifest.metrics,
        "data_statistics": manifest.data_statistics,
        "config": manifest.config,
        "n_communities": len(manifest.communities),
        "further": list(manifest.further),
        "n_files": len(manifest.files),
        "bytes": sum(entry.bytes for entry in manifest.files.values()),
    }


def experiment_report(path: Path | None) -> bytes:
    """The JSON that ``localrec experiment report --json`` wrote. Raises ApiError: there is none, or it is no JSON."""
    if path is None:
        raise ApiError(404, "no_report", "admin.experiment_report is not set: no report is shown here")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_REPORT_BYTES + 1)
    except FileNotFoundError as exc:
        raise ApiError(404, "no_report", "The file that admin.experiment_report names is not there yet") from exc
    except OSError as exc:
        raise ApiError(409, "bad_report", f"The report cannot be read: {exc.strerror}") from exc
    if len(content) > MAX_REPORT_BYTES:
        raise ApiError(409, "bad_report", f"The report must not exceed {MAX_REPORT_BYTES} bytes")
    try:
        orjson.loads(content)
    except orjson.JSONDecodeError as exc:
        raise ApiError(409, "bad_report", f"The report is no JSON: {exc}") from exc
    return content


def _without(directory: Path, message: str) -> str:
    """A message that does not say where bundles lie."""
    return message.replace(f"{directory}/", "").replace(str(directory), directory.name)
