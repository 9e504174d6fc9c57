"""The inference methods of the core, as records."""

from __future__ import annotations

from dynplat.records import InferenceEntry, Reference

ENTRIES: tuple[InferenceEntry, ...] = (
    InferenceEntry(
        id="mle",
        summary="Maximum likelihood with standard errors from the observed information",
        location="dynplat.inference.mle:run",
        needs=("likelihood", "gradients"),
        references=(
            Reference(
                "Byrd, Lu, Nocedal and Zhu (1995), A limited memory algorithm for bound constrained optimization, "
                "SIAM J. Sci. Comput. 16",
                doi="10.1137/0916069",
            ),
        ),
    ),
    InferenceEntry(
        id="map",
        summary="Mode of the posterior density, with standard errors",
        location="dynplat.inference.map:run",
        needs=("prior", "likelihood", "gradients"),
    ),
    InferenceEntry(
        id="laplace",
        summary="Gaussian approximation at the mode, resampled to the posterior where its weights allow",
        location="dynplat.inference.laplace:run",
        needs=("prior", "likelihood", "gradients"),
        references=(
            Reference(
                "Tierney and Kadane (1986), Accurate approximations for posterior moments and marginal densities, "
                "J. Am. Stat. Assoc. 81",
                doi="10.1080/01621459.1986.10478240",
            ),
        ),
    ),
    InferenceEntry(
        id="svi",
        summary="Stochastic variational inference with Gaussian guides or the model's own",
        location="dynplat.inference.svi:run",
        needs=("prior", "likelihood", "gradients"),
        references=(
            Reference(
                "Kucukelbir, Tran, Ranganath, Gelman and Blei (2017), Automatic differentiation variational inference, "
                "J. Mach. Learn. Res. 18",
                url="https://jmlr.org/papers/v18/16-107.html",
            ),
        ),
    ),
    InferenceEntry(
        id="nuts",
        summary="Hamiltonian Monte Carlo with the no-U-turn sampler, several chains",
        location="dynplat.inference.nuts:run",
        needs=("prior", "likelihood", "gradients"),
        references=(
            Reference(
                "Hoffman and Gelman (2014), The no-U-turn sampler: adaptively setting path lengths in Hamiltonian "
                "Monte Carlo, J. Mach. Learn. Res. 15",
                url="https://jmlr.org/papers/v15/hoffman14a.html",
            ),
        ),
    ),
    InferenceEntry(
        id="train",
        summary="Mode of the posterior density by minibatches, for networks and many series",
        location="dynplat.inference.train:run",
        needs=("likelihood or composite", "gradients"),
        references=(
            Reference(
                "Loshchilov and Hutter (2019), Decoupled weight decay regularization, ICLR",
                url="https://openreview.net/forum?id=Bkg6RiCqY7",
            ),
        ),
    ),
    InferenceEntry(
        id="solve",
        summary="The model's own solver: closed form, EM, projection or a pretrained network",
        location="dynplat.inference.solve:run",
    ),
)
