"""What moving the pointer to the current bundle writes, for the command line and the gateway alike."""

from models.contract.redis_schema import BUNDLE_CHANNEL, CURRENT_BUNDLE, PREVIOUS_BUNDLE

Command = tuple[str, ...]


def activation(bundle_id: str, current: str | None) -> list[Command]:
    """The Redis commands that make a bundle current; one MULTI.

    Args:
        bundle_id: becomes current.
        current: is current now, and becomes the one to roll back to. A bundle is never the one before itself.
    """
    commands: list[Command] = [("SET", CURRENT_BUNDLE, bundle_id), ("PUBLISH", BUNDLE_CHANNEL, bundle_id)]
    if current is not None and current != bundle_id:
        commands.insert(0, ("SET", PREVIOUS_BUNDLE, current))
    return commands
