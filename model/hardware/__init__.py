"""What a device is, what it can hold and how fast it could be: decided before a model is loaded."""
