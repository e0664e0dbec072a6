"""Qwen2-VL and what it eats: loading, preprocessing, shared-prefix forwards and decode caches."""
