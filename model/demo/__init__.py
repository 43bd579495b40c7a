"""The small trained model of the package, and the code that made it: `python -m model.demo.<stage>`."""
