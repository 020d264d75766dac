"""Other people's implementations, run on our experiments with our evaluation: what our figures are held against."""
