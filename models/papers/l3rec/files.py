"""What the stages of the local models leave in their directories, under these names."""

ITEM_VECTORS = "item_vectors.safetensors"
ITEM_TABLE = "item_table.safetensors"
CHECKPOINT = "checkpoint"
ADAPTER = "adapter"
