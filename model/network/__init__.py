"""The parts that networks are built of, and Mimi: streaming modules whose state is an argument."""
