"""Schrödinger bridges: the law closest to a reference process that passes through snapshots of a population."""
