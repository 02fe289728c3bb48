"""What is in a trace, from its footer and some of its rows, or from all of them."""
