"""Dictionaries: the functions of the state in which a Koopman operator is sought."""

from dynplat_koopman.dictionaries.base import AbstractDictionary, Derivatives
from dynplat_koopman.dictionaries.combined import Product, Scaled, Union
from dynplat_koopman.dictionaries.fourier import Fourier
from dynplat_koopman.dictionaries.functions import FromFunctions
from dynplat_koopman.dictionaries.monomials import Monomials
from dynplat_koopman.dictionaries.network import Network
from dynplat_koopman.dictionaries.orthogonal import Hermite, Legendre
from dynplat_koopman.dictionaries.radial import RadialBasis, choose_centres, radial_basis_from
from dynplat_koopman.dictionaries.text import dictionary_from, from_arrays, to_arrays

__all__ = [
    "AbstractDictionary",
    "Derivatives",
    "Fourier",
    "FromFunctions",
    "Hermite",
    "Legendre",
    "Monomials",
    "Network",
    "Product",
    "RadialBasis",
    "Scaled",
    "Union",
    "choose_centres",
    "dictionary_from",
    "from_arrays",
    "radial_basis_from",
    "to_arrays",
]
