"""Markov jump processes: chains in continuous time, seen at irregular times, at their jumps, or through noise."""
