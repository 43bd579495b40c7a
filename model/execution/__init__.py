"""How a mode's step is run on a device: as it is, traced, or as CUDA graphs."""
