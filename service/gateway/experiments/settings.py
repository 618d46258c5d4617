"""``[[experiments]]``: how users are split."""

from pydantic import Field

from service.gateway.tables import Name, Table


class VariantSettings(Table):
    """One arm of an experiment."""

    name: Name
    weight: float = Field(gt=0, le=1_000_000)
    pipeline: Name | None = None


class ExperimentSettings(Table):
    """A split of the users by a hash of salt and user id."""

    name: Name
    salt: str = Field(min_length=1, max_length=64)
    variants: tuple[VariantSettings, ...] = Field(min_length=1, max_length=20)
