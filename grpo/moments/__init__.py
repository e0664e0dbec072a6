"""AdamW with moments of 8 bits, and what moments take; grpo/optimizer/ moves a policy by it."""
