"""HatLLM's models for vLLM: its own models with the attention of every layer replaced."""

from typing import Any

from torch import Tensor
from vllm.model_executor.models.adapters import as_embedding_model
from vllm.model_executor.models.llama import LlamaForCausalLM
from vllm.model_executor.models.qwen2 import Qwen2ForCausalLM
from vllm.model_executor.models.qwen3 import Qwen3ForCausalLM

from models.contract.hatllm import CONFIG_KEY, HatLayout
from service.vllm_plugin.attention import Batch, MaskedAttention
from service.vllm_plugin.batch import groups


def _check(vllm_config: Any) -> None:
    """Raise ValueError where the server would cut prompts up, or capture what depends on them."""
    if vllm_config.cache_config.enable_prefix_caching or vllm_config.scheduler_config.enable_chunked_prefill:
        raise ValueError("HatLLM reads whole prompts: --no-enable-prefix-caching --no-enable-chunked-prefill")
    if not vllm_config.model_config.enforce_eager:
        raise ValueError("HatLLM's masks depend on the prompts: --enforce-eager")
    if vllm_config.parallel_config.pipeline_parallel_size > 1:
        raise ValueError("HatLLM's masks are made from the tokens, which one stage has: --pipeline-parallel-size 1")


def _masked(causal: type[Any]) -> type[Any]:
    """A causal language model of vLLM as HatLLM: it gives each prompt's last state, after the final norm."""

    embedding: Any = as_embedding_model(causal)

    class HatForEmbedding(embedding):
        attn_type = "encoder_only"  # to vLLM: prompts are neither cut into chunks, nor are their beginnings cached

        def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
            _check(vllm_config)
            super().__init__(vllm_config=vllm_config, prefix=prefix)
            config = vllm_config.model_config.hf_config
            self._layout = HatLayout.of_config(getattr(config, CONFIG_KEY, {}), config.num_hidden_layers)
            self._batch = Batch()
            caches = vllm_config.compilation_config.static_forward_context
            for layer, mask in zip(self.model.layers, self._layout.masks, strict=True):
                replaced = layer.self_attn.attn
                del caches[replaced.layer_name]  # no cache is made for what is not there
                sizes = replaced.num_heads, replaced.num_kv_heads, replaced.head_size
                layer.self_attn.attn = MaskedAttention(*sizes, layer.self_attn.scaling, mask, self._batch)

        def forward(self, input_ids: Tensor, positions: Tensor, *args: Any, **kwargs: Any) -> Any:
            self._batch.groups = tuple(groups(input_ids, positions, self._layout))
            return super().forward(input_ids, positions, *args, **kwargs)

    return HatForEmbedding


HatLlamaForEmbedding = _masked(LlamaForCausalLM)
HatQwen2ForEmbedding = _masked(Qwen2ForCausalLM)
HatQwen3ForEmbedding = _masked(Qwen3ForCausalLM)
