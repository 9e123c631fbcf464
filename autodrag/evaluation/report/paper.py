"""The numbers printed in the paper (Cai et al. 2024). "FreeGAN" is FreeDrag; n = 5 of Table 3 differs from Table 2."""

#: Table 1, FFHQ-512: method -> (MD at 1, 5 and 68 points, FID, seconds).
TABLE1: dict[str, tuple[float, float, float, float | None, float | None]] = {
    "no-edit": (14.76, 12.39, 15.27, None, None),
    "latent-transformer": (11.64, 10.41, 10.15, 25.32, 0.03),
    "freedrag": (1.45, 3.03, 4.17, 7.67, 2.0),
    "draggan": (1.62, 3.23, 4.32, 8.30, 1.9),
    "autodrag-without-regularizer": (3.75, 5.79, 11.14, 17.23, 0.12),
    "autodrag-without-predictor": (4.94, 12.78, 25.63, 26.34, 0.15),
    "autodrag": (1.33, 3.02, 3.56, 6.46, 0.04),
}
#: Table 2: dataset -> method -> (MSE x 100, LPIPS x 10).
TABLE2: dict[str, dict[str, tuple[float, float]]] = {
    "lion": {
        "latent-transformer": (1.82, 1.14),
        "draggan": (0.52, 0.70),
        "freedrag": (0.48, 0.67),
        "autodrag-without-regularizer": (1.52, 1.38),
        "autodrag-without-predictor": (1.74, 1.12),
        "autodrag": (0.42, 0.58),
    },
    "lsun_cat": {
        "latent-transformer": (1.25, 0.87),
        "draggan": (0.88, 0.86),
        "freedrag": (0.79, 0.96),
        "autodrag-without-regularizer": (1.33, 0.83),
        "autodrag-without-predictor": (1.51, 0.95),
        "autodrag": (0.70, 0.63),
    },
    "dog": {
        "latent-transformer": (1.23, 0.92),
        "draggan": (0.39, 0.42),
        "freedrag": (0.38, 0.37),
        "autodrag-without-regularizer": (0.94, 0.83),
        "autodrag-without-predictor": (1.97, 0.93),
        "autodrag": (0.31, 0.32),
    },
    "lsun_car": {
        "latent-transformer": (1.98, 0.85),
        "draggan": (1.75, 0.77),
        "freedrag": (1.64, 0.64),
        "autodrag-without-regularizer": (2.01, 0.94),
        "autodrag-without-predictor": (2.13, 0.98),
        "autodrag": (1.53, 0.58),
    },
}
#: Table 3, Dog: n -> MSE x 100.
TABLE3: dict[int, float] = {1: 1.97, 2: 1.18, 3: 0.68, 4: 0.54, 5: 0.37, 7: 0.39, 9: 0.39, 10: 0.38}

#: The label of the paper's own recipe, trained here: a row of every table, measured or not.
PAPER = "paper"
SAMPLES = 1_500_000  # of its stage 2: 150 epochs (section 4.1), of 10,000 samples by our choice
#: Rows of the tables in their order: label -> name.
METHODS: dict[str, str] = {
    "no-edit": "No edit",
    "latent-transformer": "UserControllableLT",
    "freedrag": "FreeDrag",
    "draggan": "DragGAN",
    PAPER: "The paper's recipe",
    "paper-coordinates": "The paper's recipe, with coordinates",
    "paper-toward": "The paper's recipe, towards w*",
    "paper-toward-coordinates": "The paper's recipe, towards w*, with coordinates",
    "autodrag-without-regularizer": "Ours w/o Latent Regularizer",
    "autodrag-without-predictor": "Ours w/o Latent Predictor",
    "autodrag-n5": "Ours with the ablations' budget",
    "autodrag": "Ours",
    "autodrag-2-rounds": "Ours, two rounds",
    "autodrag-8-rounds": "Ours, eight rounds",
    "autodrag-rounds": "Ours, two rounds and polish",
    "landing": "Ours, landing",
    "oracle": "Oracle",
}
