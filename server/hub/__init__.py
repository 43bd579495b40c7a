"""Checkpoints by name: a directory, or a repository of the Hugging Face Hub, downloaded once and kept."""
