"""What Parley claims of speed and memory, measured in one run, beside the reference where that can follow.

The reference is Kyutai's own server, the PyPI package `moshi`, in an environment of its own. Both servers are processes
with one thread of torch each, on one small random checkpoint (speed does not depend on what the weights are), and are
called by the same client, `parley load`. Every part starts what it measures, and ends it.
"""
