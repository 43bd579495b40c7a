"""Finds checkpoints by name: in a directory, or on the Hugging Face Hub, whose files are cached."""
