"""The small trained model that ships, and how it was made: `python -m model.demo.<stage>`."""
