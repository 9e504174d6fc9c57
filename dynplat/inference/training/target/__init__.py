"""What a training maximises, under torch."""
