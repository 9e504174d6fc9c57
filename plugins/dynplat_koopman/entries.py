"""The records of the family. Light: importing this module imports no numerical framework."""

from __future__ import annotations

from dynplat.records import ModelEntry, Reference

WILLIAMS = Reference(
    "Williams, M. O., Kevrekidis, I. G. and Rowley, C. W. (2015). A data-driven approximation of the Koopman operator: "
    "extending dynamic mode decomposition. Journal of Nonlinear Science 25.",
    doi="10.1007/s00332-015-9258-5",
)
COLBROOK_TOWNSEND = Reference(
    "Colbrook, M. J. and Townsend, A. (2024). Rigorous data-driven computation of spectral properties of Koopman "
    "operators for dynamical systems. Communications on Pure and Applied Mathematics 77.",
    doi="10.1002/cpa.22125",
)

ENTRIES: tuple[ModelEntry, ...] = ()
