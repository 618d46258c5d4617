"""The experiments in service, and the file that they follow. What is wrong with a new file never reaches a request."""

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
from service.gateway.watched_file import WatchedFile, version_of

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
        self._observer = observer
        self._file = WatchedFile(loader.read, loader.parse, self._put_in_service, self._refuse, first.version)

    @property
    def refusal(self) -> str:
        """Why the file as it is now is not in service; empty where it is."""
        return self._file.problem

    async def follow(self) -> None:
        """One look at the file."""
        await self._file.look()

    def _put_in_service(self, experiments: Experiments) -> None:
        self.current = experiments
        self._observer("loaded")
        logger.info("experiments %s in service", experiments.version)

    def _refuse(self, why: str) -> None:
        self._observer("refused")
        logger.error("experiments refused: %s; in service: %s", why, self.current.version)
