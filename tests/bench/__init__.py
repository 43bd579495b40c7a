"""Parley's claims about speed and memory, measured in one run, beside the reference where it can do the same.

The reference is Kyutai's own server, the PyPI package `moshi`, in a virtual environment of its own. Both servers run as
processes with one torch thread each, on one small random checkpoint (speed does not depend on the values of the
weights), and are called by the same client, `parley load`. Every part starts what it measures, and stops it.
"""
