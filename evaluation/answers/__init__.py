"""What was answered: a line of predictions.jsonl, and the directories that hold them."""
