"""From text and images to what the model takes: ids, positions, pixels."""
