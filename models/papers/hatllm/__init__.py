"""HatLLM (Cui et al., 2025): a language model whose layers attend within items, as ever, and between items."""
