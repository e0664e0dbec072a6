"""Adapters of low rank (LoRA): trained instead of a model's own weights, by peft (docs/lora.md)."""
