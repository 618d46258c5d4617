"""HatLLM on vLLM: a plugin (entry point ``vllm.general_plugins``) that registers its models.

Nothing else imports this package, and it alone imports vLLM. ``metadata/`` lets vLLM find the entry point where the
repository is on the path and not installed: :func:`models.contract.vllm.server_environment` sees to that.
"""

from models.contract.hatllm import VLLM_ARCHITECTURES


def register() -> None:
    """Make HatLLM's architectures known to vLLM; every one of its processes calls this, so it imports no model."""
    from vllm import ModelRegistry  # noqa: PLC0415 - only where vLLM is

    for architecture in VLLM_ARCHITECTURES.values():
        ModelRegistry.register_model(architecture, f"service.vllm_plugin.architectures:{architecture}")
