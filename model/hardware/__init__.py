"""Devices: which one to use, how much it holds, how fast it could be. All is decided before a model is loaded."""
