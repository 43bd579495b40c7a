"""What a network is used for: a mode takes one frame of every slot's input and gives one frame of output."""
