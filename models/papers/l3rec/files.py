"""What the stages of the local models leave in their directories, under these names."""

ITEM_VECTORS = "item_vectors.safetensors"
CHECKPOINT = "checkpoint"
ADAPTER = "adapter"
