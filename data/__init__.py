"""VQA examples: readers of published files, prompts, options, and the embedded phantoms."""
