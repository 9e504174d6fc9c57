"""Compiled forms of what this family computes most."""
