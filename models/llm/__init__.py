"""Language models: loading a backbone, item vectors from its shallow layers, LoRA on its top layers, one trainer."""
