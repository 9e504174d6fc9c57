"""Every remote file of the catalogue: address, SHA-256, and the form that a mirror directory may hold.

Addresses are pinned to a commit. Each SHA-256 was computed from the blob of that commit, except where a comment says
otherwise. Where no `mirror_path` is given, a mirror holds the source's own bytes.
"""

from __future__ import annotations

from dynplat.data.catalogue.fetch import RemoteFile

_RAW = "https://raw.githubusercontent.com"
_OPENFIM = f"{_RAW}/FIM4Science/OpenFIM/cee2bb53be1e8e92b73f98dfdbe3605efc9119cc"
_CMAPSS = f"{_RAW}/saxenag14/DNN_CMAPSS/3aed8e30e7c32f936c8aa70e04baf429ca3362f9/CMAPSSData"
_PYMSM = f"{_RAW}/hrossman/pymsm/18a6f0ae9ba278a6dc486bfab1feefdb960f4481/pymsm/datasets"

# The official archive of all 4000 stays. Its SHA-256 could not be checked, so its reader checks the contents instead.
# The mirror's form is a zip of the first 1000 stays as another public repository has them
# (SamuelJoray/Predicting-Mortality-of-ICU-Patients at 7d004326). It is not the official text: ICUType is not in it and
# ages are repeated; see the reader.
PHYSIONET_STAYS = RemoteFile(
    url="https://physionet.org/files/challenge-2012/1.0.0/set-a.tar.gz",
    sha256="",
    path="physionet2012/set-a.tar.gz",
    mirror_path="physionet2012/set-a-first1000.zip",
    mirror_sha256="c94f37c71c23821e78aaf47c88a842382f908140575ce85bfe92d8ef5fa65c7a",
    verified=False,
)
PHYSIONET_OUTCOMES = RemoteFile(
    url=f"{_RAW}/SamuelJoray/Predicting-Mortality-of-ICU-Patients/7d004326132fddd268f645bf0b37217fd15bcedb/Outcomes-a.txt",
    sha256="2613ea60ccda29f87571a7d6b09ad130858a8ccd66325bd073365925026883c2",
    path="physionet2012/Outcomes-a.txt",
)
USHCN_RHODE_ISLAND = RemoteFile(
    url=f"{_RAW}/edebrouwer/gru_ode_bayes/88724506111696b287a6e393968b4388fa94b907/data_preproc/Climate/state37_RI.txt",
    sha256="f2425f8ea8d81c7ac41725f9b77792a4ca16440ba520048eac146cb896762e0f",
    path="ushcn/state37_RI.txt",
)
ITALIAN_AIR_QUALITY = RemoteFile(
    url=f"{_RAW}/ajayarunachalam/msda/43699b97b59fac9014ac7dc5e100119678e90637/data/AirQualityUCI.csv",
    sha256="c53d5ba770e5202034a0ecb92746b1a73cd604316eb88b5a1848d3fc782ab055",
    path="italian_airquality/AirQualityUCI.csv",
)
ETTH1 = RemoteFile(
    url=f"{_RAW}/zhouhaoyi/ETDataset/1d16c8f4f943005d613b5bc962e9eeb06058cf07/ETT-small/ETTh1.csv",
    sha256="f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
    path="ett/ETTh1.csv",
)
MOCAP_35 = RemoteFile(
    url=f"{_OPENFIM}/data/ode/mocap/mocap35.npz",
    sha256="03cf7b6316c5e136007e5021a95944ddf7bcb5cf298e00c45fb7cac0c3ddf1cf",
    path="mocap/mocap35.npz",
)
MOCAP_09 = RemoteFile(
    url=f"{_OPENFIM}/data/ode/mocap/mocap09.npz",
    sha256="44d85d9bf52fab889f7f4a5fab09146d4f1c59dd0dabb55cce426aa4e561d391",
    path="mocap/mocap09.npz",
)
# The source keeps its tables in one R data file; the mirror's form is the table `cav` as CSV, values unchanged.
HEART_TRANSPLANT = RemoteFile(
    url=f"{_RAW}/cran/msm/90a8cfa0516fe1039420ddd66517bd119f09926a/data/msmdata.rda",
    sha256="ab0f594bd8f9c12482ed9a45e4dda9440a63474e738e7abaae224eba4a3eb21c",
    path="msm/msmdata.rda",
    mirror_path="msm/cav.csv",
    mirror_sha256="a21beacd07fea540edac41e1705690794e3a16ce354be5aea3ab44798ca51db0",
)
# The same file of the source; the mirror's form is the table `psor`.
PSORIATIC_ARTHRITIS = RemoteFile(
    url=HEART_TRANSPLANT.url,
    sha256=HEART_TRANSPLANT.sha256,
    path=HEART_TRANSPLANT.path,
    mirror_path="msm/psor.csv",
    mirror_sha256="7ff623c3020c360c5e1896432cdbe0d3119de6cc1d059132bb3bd9da87323931",
)
# The repository's file ends its lines with CR LF, the released package's (the mirror's form) with LF; nothing else
# differs.
EBMT_LONG = RemoteFile(
    url=f"{_PYMSM}/ebmt_long.csv",
    sha256="e067b8e628d385f550ba697238330f5db04ddea3ad8269485ec612b3be8f4031",
    path="ebmt/ebmt_long.csv",
    mirror_path="ebmt/ebmt_long.csv",
    mirror_sha256="3f12083d03c3117e4a36bdf5a56d9413e3c19c5f44a0d098a5af1392de5c8c75",
)
CYLINDER_WAKE = RemoteFile(
    url=f"{_RAW}/dynamicslab/pysindy/c4421fcec275c8f4cc5c1e93bebb961b212067ae/examples/data/vonKarman_pod/vonKarman_a.dat",
    sha256="8375a26377239ca8f64e3e9209e8e355e9379a8b13311f761f85e703e17a83bc",
    path="cylinder_pod/vonKarman_a.dat",
)
# The source is a zip of torch files; the mirror's form is an npz with the same values.
_DFR = f"{_OPENFIM}/scripts/huggingface/datasets/mjp/data/DFR"
FLASHING_RATCHET = {
    0: RemoteFile(
        url=f"{_DFR}/6_st_DFR_V=0.zip",
        sha256="175de0763dbdb48a1778ad4990cfa60fc9a9a514d3ceecd4b10e2e0fb3791ba8",
        path="flashing_ratchet/6_st_DFR_V=0.zip",
        mirror_path="flashing_ratchet/dfr_V0.npz",
        mirror_sha256="4ced91207d321241384ffdc193e6ec1ce0229ab51409c50162e658e2039439ec",
    ),
    1: RemoteFile(
        url=f"{_DFR}/6_st_DFR_V=1.zip",
        sha256="f03231707d2c563d190fb86eb018198f85763693f68549fc151afae11c16bf2f",
        path="flashing_ratchet/6_st_DFR_V=1.zip",
        mirror_path="flashing_ratchet/dfr_V1.npz",
        mirror_sha256="7501bca1422104c13ebec12a32feeadcce1185df410ac2e24e094a76e6a9329a",
    ),
}
TURBOFAN_TRAIN = RemoteFile(
    url=f"{_CMAPSS}/train_FD001.txt",
    sha256="963b5e22825b34d8b21c69e1aeb4af3e647050eb672ee8834ba4b5d91d2de0f8",
    path="cmapss/train_FD001.txt",
)
TURBOFAN_TEST = RemoteFile(
    url=f"{_CMAPSS}/test_FD001.txt",
    sha256="3cda7109ce17bafb5443f2ac926cfcf88154b941b8c4cf95eb55d1ddd6f52851",
    path="cmapss/test_FD001.txt",
)
TURBOFAN_RUL = RemoteFile(
    url=f"{_CMAPSS}/RUL_FD001.txt",
    sha256="e5f5d83bb5221898024ef02040b42d7fbcb3734368c48dfb522aa3191b728a0e",
    path="cmapss/RUL_FD001.txt",
)
_SNAPMMD = f"{_RAW}/YunyiShen/snapMMD/a1abb50460dc194c493da3468f40a8ba40bb1b8d/data"
LOTKA_VOLTERRA_SNAPSHOTS = RemoteFile(
    url=f"{_SNAPMMD}/classic/LV_data.npz",
    sha256="415072fb24816e8e4b87755a3f90693ad5e092b4c6d7d3e5b581ce04f9612157",
    path="snapshots/LV_data.npz",
)
LOTKA_VOLTERRA_BETWEEN = RemoteFile(
    url=f"{_SNAPMMD}/classic/LV_data_interp_val.npz",
    sha256="64cda40265d2fa33e9785d4679be41e375c291285e53bdcdb16f4526663a11a8",
    path="snapshots/LV_data_interp_val.npz",
)
REPRESSILATOR_SNAPSHOTS = RemoteFile(
    url=f"{_SNAPMMD}/classic/Repressilator_data.npz",
    sha256="087cd67d983e2b25c8320b64ede857d048fe0e3a4c9b75306d0039328229d5bb",
    path="snapshots/Repressilator_data.npz",
)
REPRESSILATOR_BETWEEN = RemoteFile(
    url=f"{_SNAPMMD}/classic/Repressilator_data_interp_val.npz",
    sha256="9e80ecf39150dd4e6fe78ac8af8936145244314362fc1f7d45962578482da0b9",
    path="snapshots/Repressilator_data_interp_val.npz",
)
GULF_OF_MEXICO_SNAPSHOTS = RemoteFile(
    url=f"{_SNAPMMD}/realdata/GoM_data.npz",
    sha256="81b4b2baaf039e5d29c03d9f31828e54d078386754f56334e556f7c30e7bc769",
    path="snapshots/GoM_data.npz",
)
GULF_OF_MEXICO_BETWEEN = RemoteFile(
    url=f"{_SNAPMMD}/realdata/GoM_data_interp_val.npz",
    sha256="2098a6dcfddb7bea5f43dd12b33ebe4a284a5cbcee102fc7ba7f473b9c41d639",
    path="snapshots/GoM_data_interp_val.npz",
)
