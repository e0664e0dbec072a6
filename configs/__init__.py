"""TOML files that ship with the project."""
