"""Dictionaries: the functions of the state in which a Koopman operator is sought."""
