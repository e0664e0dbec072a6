"""From text to a number: modes and their tags, the one parser, accuracy, format, registry."""
