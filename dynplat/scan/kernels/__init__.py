"""Compiled forms of scans for the CPU, each with its own adjoint.

A kernel (`kernel.Kernel`) is a numba function of arrays that writes into arrays, compiled once and kept on disk. The
modules `torch` and `jax` make differentiable functions of it; XLA calls it without Python (`frame`). The drivers of
`dynplat.scan` are its slow twins: what it computes is compared with theirs, and second derivatives are taken from them.
"""
