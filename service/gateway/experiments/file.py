"""The experiments in service, and the file that they follow. What is wrong with a new file never reaches a request."""

import asyncio
import hashlib
import logging
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import ValidationError

from models.contract.errors import ConfigError
from service.gateway.experiments.assignment import Experiments
from service.gateway.experiments.settings import ExperimentFile, check_pipelines
from service.gateway.ranking.settings import Pipeline
from service.gateway.tables import problems_of

logger = logging.getLogger(__name__)


class ExperimentsLoader:
    """Makes experiments of a file, checked as a whole.

    Args:
        path: the file; None: no experiments.
        pipelines: the gateway's, by name.
        default_pipeline: of users whom no variant gives another one.
    """

    def __init__(self, path: Path | None, pipelines: Mapping[str, Pipeline], default_pipeline: str) -> None:
        self._path = path
        self._pipelines = pipelines
        self._default_pipeline = default_pipeline

    def read(self) -> bytes:
        """The file's content. Blocks. Raises ConfigError where it cannot be read."""
        if self._path is None:
            return b""
        try:
            return self._path.read_bytes()
        except OSError as exc:
            raise ConfigError(f"{self._path}: {exc.strerror}") from exc

    def parse(self, content: bytes) -> Experiments:
        """The experiments of a content. Raises ConfigError, with all that is wrong."""
        try:
            file = ExperimentFile.model_validate(tomllib.loads(content.decode()))
            check_pipelines(file, self._pipelines)
        except ValidationError as exc:
            raise ConfigError(f"{self._path}: {problems_of(exc)}") from exc
        except (ValueError, RecursionError) as exc:  # TOML, UTF-8, a pipeline; TOML that is nested too deep
            raise ConfigError(f"{self._path}: {exc}") from exc
        return Experiments(file, self._pipelines, self._default_pipeline, version_of(content))

    def load(self) -> Experiments:
        """The experiments of the file as it is now. Blocks. Raises ConfigError."""
        return self.parse(self.read())


class ExperimentsFollower:
    """Holds the experiments in service. A bad file leaves them as they are.

    Args:
        loader: reads the file.
        first: what is in service from the start.
        observer: told what became of a changed file: ``loaded`` or ``refused``.
    """

    def __init__(self, loader: ExperimentsLoader, first: Experiments, observer: Callable[[str], None]) -> None:
        self.current = first
        self.refusal = ""
        self._loader = loader
        self._observer = observer
        self._seen = self._judged = first.version

    async def follow(self) -> None:
        """One look at the file. A new content counts once it was the same at two looks: it may be half written."""
        try:
            content = await asyncio.to_thread(self._loader.read)
        except ConfigError as exc:
            self._judged = ""  # what comes back is judged anew, be it what was there before
            self._refuse(str(exc))
            return
        version = version_of(content)
        settled, self._seen = version == self._seen, version
        if settled and version != self._judged:
            self._judged = version
            await self._judge(content)

    async def _judge(self, content: bytes) -> None:
        try:
            self._put_in_service(await asyncio.to_thread(self._loader.parse, content))
        except ConfigError as exc:
            self._refuse(str(exc))

    def _put_in_service(self, experiments: Experiments) -> None:
        self.current, self.refusal = experiments, ""
        self._observer("loaded")
        logger.info("experiments %s in service", experiments.version)

    def _refuse(self, why: str) -> None:
        if why != self.refusal:  # else the same as a second ago
            self._observer("refused")
            logger.error("experiments refused: %s; in service: %s", why, self.current.version)
        self.refusal = why


def version_of(content: bytes) -> str:
    """Digest of a file."""
    return hashlib.blake2b(content, digest_size=8).hexdigest()
