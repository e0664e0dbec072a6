"""What a command is going to ask of which rows, told before any weights are loaded."""
