"""Parley's model: Mimi and Moshi, streaming, one step for many slots at once.

Knows tensors and checkpoints. Knows no sessions, sockets, Opus or asyncio.
"""
