"""The records of the catalogue's data sets. Importing them imports no loader and no numerical package."""

from __future__ import annotations

from dynplat.records import DatasetEntry, Reference

_HERE = "dynplat.data.catalogue"
_SNAPMMD = Reference(
    "Berlinghieri, Shen, Jiang, Broderick (2025). Oh SnapMMD! Forecasting stochastic dynamics beyond the Schrödinger "
    "bridge's end",
    url="https://arxiv.org/abs/2505.16082",
)

ENTRIES: tuple[DatasetEntry, ...] = (
    DatasetEntry(
        "mauna-loa-co2",
        "Weekly atmospheric CO2 at Mauna Loa, 1958-2001, with gaps",
        f"{_HERE}.bundled:load_mauna_loa_co2",
        licence="Public domain",
        offline=True,
        references=(
            Reference(
                "Keeling, Whorf (2004). Atmospheric CO2 concentrations derived from flask air samples at sites in the "
                "SIO network. In: Trends: A Compendium of Data on Global Change, CDIAC, Oak Ridge National Laboratory",
                url="http://cdiac.ornl.gov/trends/co2/sio-keel-flask/sio-keel-flaskmlo_c.html",
            ),
        ),
    ),
    DatasetEntry(
        "nile",
        "Annual flow of the Nile at Aswan, 1871-1970",
        f"{_HERE}.bundled:load_nile",
        licence="Public domain",
        offline=True,
        references=(
            Reference(
                "Cobb (1978). The problem of the Nile: conditional solution to a changepoint problem. Biometrika "
                "65(2), 243-251",
                doi="10.1093/biomet/65.2.243",
            ),
        ),
    ),
    DatasetEntry(
        "sunspots",
        "Yearly mean sunspot numbers, 1700-2008",
        f"{_HERE}.bundled:load_sunspots",
        licence="Public domain",
        offline=True,
        references=(
            Reference(
                "National Geophysical Data Center. Sunspot numbers, yearly means",
                url="http://www.ngdc.noaa.gov/stp/solar/solarda3.html",
            ),
        ),
    ),
    DatasetEntry(
        "el-nino",
        "Monthly sea-surface temperature of the region Niño 1+2, 1950-2010",
        f"{_HERE}.bundled:load_el_nino",
        licence="Public domain",
        offline=True,
        references=(
            Reference(
                "National Weather Service, Climate Prediction Center. ERSST.V3B, Niño 1+2",
                url="http://www.cpc.ncep.noaa.gov/data/indices/",
            ),
        ),
    ),
    DatasetEntry(
        "us-macro",
        "Quarterly macroeconomic figures of the United States, 1959-2009, 12 channels",
        f"{_HERE}.bundled:load_us_macro",
        licence="Public domain",
        offline=True,
        references=(
            Reference(
                "Federal Reserve Bank of St. Louis, FRED, and Bureau of Labor Statistics (2009), compiled by Seabold "
                "for statsmodels (macrodata)",
                url="https://www.statsmodels.org/stable/datasets/generated/macrodata.html",
            ),
        ),
    ),
    DatasetEntry(
        "physionet-2012",
        "Intensive-care stays of 48 hours, 37 irregular channels, mostly missing",
        f"{_HERE}.physionet:load_physionet_2012",
        licence="Open Data Commons Attribution License v1.0",
        references=(
            Reference(
                "Silva, Moody, Scott, Celi, Mark (2012). Predicting in-hospital mortality of ICU patients: the "
                "PhysioNet/Computing in Cardiology Challenge 2012. Computing in Cardiology 39, 245-248",
                url="https://physionet.org/content/challenge-2012/1.0.0/",
            ),
            Reference(
                "Goldberger et al. (2000). PhysioBank, PhysioToolkit, and PhysioNet. Circulation 101(23), e215-e220",
                doi="10.1161/01.CIR.101.23.e215",
            ),
        ),
    ),
    DatasetEntry(
        "ushcn",
        "Daily weather of three stations in Rhode Island, 1893-2014, 5 elements",
        f"{_HERE}.ushcn:load_ushcn",
        licence="Public domain (United States government)",
        references=(
            Reference(
                "Menne, Williams, Vose. United States Historical Climatology Network, daily temperature, precipitation "
                "and snow data. CDIAC, Oak Ridge National Laboratory",
                url="https://www.ncei.noaa.gov/products/land-based-station/us-historical-climatology-network",
            ),
            Reference(
                "De Brouwer, Simm, Arany, Moreau (2019). GRU-ODE-Bayes: continuous modeling of sporadically-observed "
                "time series. NeurIPS",
                url="https://arxiv.org/abs/1905.12374",
            ),
        ),
    ),
    DatasetEntry(
        "italian-air-quality",
        "Hourly gas sensors and reference analysers in an Italian city, 2004-2005, 13 channels",
        f"{_HERE}.airquality:load_italian_air_quality",
        licence="CC BY 4.0",
        references=(
            Reference(
                "De Vito, Massera, Piga, Martinotto, Di Francia (2008). On field calibration of an electronic nose for "
                "benzene estimation in an urban pollution monitoring scenario. Sensors and Actuators B 129(2), 750-757",
                doi="10.1016/j.snb.2007.09.060",
            ),
        ),
    ),
    DatasetEntry(
        "etth1",
        "Load and oil temperature of an electricity transformer, hourly, 2016-2018, 7 channels",
        f"{_HERE}.ett:load_etth1",
        licence="CC BY-ND 4.0",
        references=(
            Reference(
                "Zhou, Zhang, Peng, Zhang, Li, Xiong, Zhang (2021). Informer: beyond efficient transformer for long "
                "sequence time-series forecasting. AAAI",
                url="https://arxiv.org/abs/2012.07436",
            ),
        ),
    ),
    DatasetEntry(
        "mocap-35",
        "Walking, CMU motion-capture subject 35: 23 series of 300 frames, 50 channels",
        f"{_HERE}.mocap:load_mocap_35",
        licence="CMU database: free for all uses; prepared arrays: MIT",
        references=(
            Reference("CMU Graphics Lab motion capture database", url="http://mocap.cs.cmu.edu"),
            Reference(
                "Yildiz, Heinonen, Lähdesmäki (2019). ODE2VAE: deep generative second order ODEs with Bayesian neural "
                "networks. NeurIPS",
                url="https://arxiv.org/abs/1905.10994",
            ),
            Reference(
                "Li, Wong, Chen, Duvenaud (2020). Scalable gradients for stochastic differential equations. AISTATS",
                url="https://arxiv.org/abs/2001.01328",
            ),
        ),
    ),
    DatasetEntry(
        "mocap-09",
        "Walking, CMU motion-capture subject 09: 10 series of 120 frames, 50 channels",
        f"{_HERE}.mocap:load_mocap_09",
        licence="CMU database: free for all uses; prepared arrays: MIT",
        references=(
            Reference("CMU Graphics Lab motion capture database", url="http://mocap.cs.cmu.edu"),
            Reference(
                "Hegde, Yildiz, Lähdesmäki, Kaski, Heinonen (2022). Variational multiple shooting for Bayesian ODEs "
                "with Gaussian processes. UAI",
                url="https://arxiv.org/abs/2106.10905",
            ),
        ),
    ),
    DatasetEntry(
        "heart-transplant",
        "Vasculopathy after heart transplant: 622 patients, 4 states, irregular visits, exact deaths",
        f"{_HERE}.transplant:load_heart_transplant",
        licence="GPL-2.0-or-later (R package msm)",
        references=(
            Reference(
                "Sharples, Jackson, Parameshwar, Wallwork, Large (2003). Diagnostic accuracy of coronary angiography "
                "and risk factors for post-heart-transplant cardiac allograft vasculopathy. Transplantation 76(4), "
                "679-682",
                doi="10.1097/01.TP.0000071200.37399.1D",
            ),
            Reference(
                "Jackson (2011). Multi-state models for panel data: the msm package for R. Journal of Statistical "
                "Software 38(8)",
                doi="10.18637/jss.v038.i08",
            ),
        ),
    ),
    DatasetEntry(
        "psoriatic-arthritis",
        "Psoriatic arthritis: 305 patients, 4 grades of damage to joints, irregular visits",
        f"{_HERE}.arthritis:load_psoriatic_arthritis",
        licence="GPL-2.0-or-later (R package msm)",
        references=(
            Reference(
                "Gladman, Farewell (1999). Progression in psoriatic arthritis: role of time-varying clinical "
                "indicators. Journal of Rheumatology 26(11), 2409-2413",
                url="https://cran.r-project.org/package=msm",
            ),
            Reference(
                "Jackson (2011). Multi-state models for panel data: the msm package for R. Journal of Statistical "
                "Software 38(8)",
                doi="10.18637/jss.v038.i08",
            ),
        ),
    ),
    DatasetEntry(
        "ebmt",
        "Bone-marrow transplants: 2279 patients, 6 states, exact transition times",
        f"{_HERE}.ebmt:load_ebmt",
        licence="MIT (as stated by pymsm)",
        references=(
            Reference(
                "Fiocco, Putter, van Houwelingen (2008). Reduced-rank proportional hazards regression and "
                "simulation-based prediction for multi-state models. Statistics in Medicine 27(21), 4340-4358",
                doi="10.1002/sim.3305",
            ),
            Reference(
                "de Wreede, Fiocco, Putter (2011). mstate: an R package for the analysis of competing risks and "
                "multi-state models. Journal of Statistical Software 38(7)",
                doi="10.18637/jss.v038.i07",
            ),
        ),
    ),
    DatasetEntry(
        "cylinder-wake",
        "Cylinder wake at Reynolds number 100: 9 mode coefficients, 3000 steps of 0.1",
        f"{_HERE}.cylinder:load_cylinder_wake",
        licence="MIT",
        references=(
            Reference(
                "Noack, Afanasiev, Morzyński, Tadmor, Thiele (2003). A hierarchy of low-dimensional models for the "
                "transient and post-transient cylinder wake. Journal of Fluid Mechanics 497, 335-363",
                doi="10.1017/S0022112003006694",
            ),
            Reference(
                "Loiseau, Brunton (2018). Constrained sparse Galerkin regression. Journal of Fluid Mechanics 838, "
                "42-67",
                doi="10.1017/jfm.2017.823",
            ),
        ),
    ),
    DatasetEntry(
        "flashing-ratchet",
        "Simulated flashing ratchet: 10,000 paths of a 6-state jump process with known rates",
        f"{_HERE}.ratchet:load_flashing_ratchet",
        licence="MIT",
        references=(
            Reference(
                "Berghaus, Cvejoski, Seifner, Ojeda, Sánchez (2024). Foundation inference models for Markov jump "
                "processes. NeurIPS",
                url="https://arxiv.org/abs/2406.06419",
            ),
        ),
    ),
    DatasetEntry(
        "turbofan-fd001",
        "Simulated turbofan engines run to failure (C-MAPSS FD001): 100 engines, 21 sensors",
        f"{_HERE}.turbofan:load_turbofan_fd001",
        licence="Public domain (NASA, United States government)",
        references=(
            Reference(
                "Saxena, Goebel, Simon, Eklund (2008). Damage propagation modeling for aircraft engine run-to-failure "
                "simulation. International Conference on Prognostics and Health Management",
                doi="10.1109/PHM.2008.4711414",
            ),
        ),
    ),
    DatasetEntry(
        "lotka-volterra-snapshots",
        "Simulated prey and predators: 20 snapshots of 200 particles, 2 channels",
        f"{_HERE}.snapshots:load_lotka_volterra_snapshots",
        kind="snapshots",
        licence="None stated by the source",
        references=(_SNAPMMD,),
    ),
    DatasetEntry(
        "repressilator-snapshots",
        "Simulated ring of three genes that repress each other: 20 snapshots of 200 particles",
        f"{_HERE}.snapshots:load_repressilator_snapshots",
        kind="snapshots",
        licence="None stated by the source",
        references=(_SNAPMMD,),
    ),
    DatasetEntry(
        "gulf-of-mexico-snapshots",
        "Drifters around an eddy in the Gulf of Mexico: 20 snapshots of 200 particles, 2 channels",
        f"{_HERE}.snapshots:load_gulf_of_mexico_snapshots",
        kind="snapshots",
        licence="None stated by the source; the currents (HYCOM) are in the public domain",
        references=(_SNAPMMD,),
    ),
)
