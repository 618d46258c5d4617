"""What must be equal online and offline, once: types, prompts, fusion, selection, item index, bundle, Redis schema.

Depends on numpy, faiss, msgspec and safetensors only, because the gateway imports it.
"""
