"""The sound that every model here hears and speaks: mono, 24 kHz, in frames of 80 ms."""

SAMPLE_RATE_HZ = 24_000
FRAME_SAMPLES = 1_920  # of a frame of 80 ms
