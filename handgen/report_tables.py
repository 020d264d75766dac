"""The tables of README.md and docs/: which records each shows, in which rows and columns."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from handgen.figures_agents import FORMS, PIXELS, REMEDIES, TOLD
from handgen.leaderboard import ENTRIES
from handgen.results import Record


@dataclass(frozen=True)
class Published:
    """A figure that others published, shown below ours.

    Attributes:
        label: Who, with a link to where.
        cells: Metric to the figure as published.
    """

    label: str
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """What one table shows.

    Attributes:
        columns: Metric name to column heading, in order.
        rows: The fields of a record that tell the rows apart.
        row_heads: Headings of these.
        experiments: Experiments shown; empty means all.
        datasets: Data sets shown; empty means all.
        variants: Variants shown, in order; empty means all, sorted.
        also: Pairs of experiment and variant that are shown besides.
        published: Figures of others.
        names: What a row is called instead of its first field, by that.
        split_metric: Metrics are ``what/column``: ``what`` tells the row (the benchmarks).
    """

    columns: Mapping[str, str]
    rows: tuple[str, ...] = ("experiment", "dataset", "variant")
    row_heads: tuple[str, ...] = ("experiment", "data", "variant")
    experiments: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    also: tuple[tuple[str, str], ...] = ()
    published: tuple[Published, ...] = field(default=())
    names: Mapping[str, str] = field(default_factory=dict)
    split_metric: bool = False

    def place(self, record: Record) -> tuple[tuple[str, ...], str]:
        """Row and column of a record."""
        row = tuple(str(getattr(record, name)) for name in self.rows)
        if not self.split_metric:
            return row, record.metric
        what, _, column = record.metric.rpartition("/")
        return (what, *row), column

    def holds(self, record: Record) -> bool:
        """Whether the table shows a record."""
        chosen = (
            _allows(self.experiments, record.experiment)
            and _allows(self.datasets, record.dataset)
            and _allows(self.variants, record.variant)
        )
        return self.place(record)[1] in self.columns and (chosen or (record.experiment, record.variant) in self.also)

    def ordered(self, rows: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
        """Rows in the order of `experiments` and `variants`, else sorted."""
        wanted = [*self.experiments, *self.datasets, *self.variants]
        rank = {name: position for position, name in enumerate(wanted)}
        return sorted(rows, key=lambda row: ([rank.get(part, len(rank)) for part in row], row))


def _allows(names: tuple[str, ...], name: str) -> bool:
    """Whether a selection, empty for all, holds a name."""
    return not names or name in names


VALIDITY = {
    "valid_rate/judge_a": "valid: judge A",
    "valid_rate/judge_b": "judge B",
    "valid_rate/geometric": "geometric",
    "valid_rate/strictest": "strictest",
}
QUALITY = {"coverage": "coverage", "kid": "KID (judge B)", "sharpness": "sharpness"}
MORE = {
    "density": "density",
    "novelty": "novelty",
    "skin": "skin",
    "orientation": "upright",
    "decoder_calls_per_valid": "decoder calls per valid",
    "seconds_per_valid": "seconds per valid",
}
VAES = ("vae", "vae_hands11k", "vae_128", "vae_folder")
SOURCES = ("heldout", "reconstruction", "reencode", "second_stage", "gmm", "gaussian", "temperature_0.8", "prior")
TUNERS = ("vae_sac", "vae_sac_hands11k")
LADDER = (
    "prior", "temperature_0.6", "temperature_0.8", "temperature_0.9", "gaussian", "gmm", "rejection",
    "best_of_4", "best_of_16", "gradient_5", "gradient_16", "cem_48", "second_stage", "tuner", "tuner_sampled",
    "tuner_gated", "tuner_best_of_4", "tuner_judged_4", "tuner_judged_16", "reconstruction", "reencode", "heldout",
)  # fmt: skip
GUARDS = (
    "no_discriminator", "noisy_discriminator", "one_view", "judge_only", "judge_only_far", "no_judge", "diversity",
    "prior_start",
)  # fmt: skip
ABLATIONS = tuple(f"vae_sac_{name}" for name in GUARDS)
JUDGES = ("judge_a", "judge_b", "judge_keypoints")
KINDS = (
    "missing", "extra", "fused", "short", "long", "no_thumb", "two_thumbs", "detached", "misplaced", "forked", "bent",
    "blob",
)  # fmt: skip
BLURS = ("none", "mild", "strong")

STAGES = ("heldout", "fit", "programs", "distilled", "rl")
PAINTERS = ("spiral_mnist", "spiral_digits")
COPIERS = ("spiral_mnist_recon", "spiral_mnist_recon_discriminator", "spiral_omniglot", "spiral_hands")

ARMS = ("arm_sac", "arm_sac_photographs", "arm_sac_photographs_unheld", "arm_actor_critic")
ARM_FEEDS = ("rendered", "synthetic", "hands11k", "sign_digits")
HAND_IMITATION = Published("Hand Imitation (2020), its own hands, 20M steps, 36 days", {"mismatch": "0.147 to 0.153"})

WITHOUT = ("equivariance", "foreground_weight", "separation", "concentration")
IMMS = ("imm", *(f"imm_no_{name}" for name in WITHOUT), "imm_published_marginals", "imm_transporter", "imm_plain")

TABLES: dict[str, Table] = {
    # The share of unselected samples that each judge takes for a valid hand, how varied and how sharp they are.
    "vae": Table(
        columns={**VALIDITY, **QUALITY},
        experiments=VAES,
        variants=SOURCES,
        published=(
            Published("goal of the work we follow (20 images, by eye)", {"valid_rate/strictest": "0.70 to 0.80"}),
        ),
    ),
    # README: from the prior of a plain VAE to the tuner, all through the same decoder.
    "headline": Table(
        columns={
            "valid_rate/strictest": "valid",
            "coverage": "coverage",
            "kid": "KID",
            "decoder_calls_per_valid": "images decoded for one valid hand",
        },
        rows=("dataset", "variant"),
        row_heads=("data", "latents from"),
        experiments=TUNERS,
        datasets=("synthetic", "hands11k"),
        variants=(
            "prior",
            "gmm",
            "second_stage",
            "rejection",
            "best_of_4",
            "gradient_16",
            "tuner",
            "tuner_best_of_4",
            "reconstruction",
            "heldout",
        ),
        published=(
            Published("goal of the work we follow (20 images, by eye)", {"valid_rate/strictest": "0.70 to 0.80"}),
        ),
    ),
    # What else is measured of them.
    "vae_more": Table(columns=MORE, experiments=VAES, variants=SOURCES),
    # The same decoder under every way of choosing latents, and the original's agent.
    "vae_sac": Table(
        columns={**VALIDITY, **QUALITY, "decoder_calls_per_valid": "decoder calls per valid"},
        experiments=TUNERS,
        variants=LADDER,
        also=(("vae_sac_loss", "prior"),),
    ),
    "vae_sac_loss": Table(
        columns={**VALIDITY, "coverage": "coverage"},
        experiments=("vae_sac_loss",),
        variants=("prior_untransformed", "prior", "gaussian", "gmm", "reencode", "reconstruction"),
    ),
    # What each guard against reward hacking is worth.
    "vae_sac_ablation": Table(
        columns={**VALIDITY, "coverage": "coverage", "kid": "KID (judge B)"},
        experiments=("vae_sac", *ABLATIONS),
        variants=("tuner",),
    ),
    # How far the judges themselves can be trusted, by blur.
    "judges": Table(
        columns={
            "sensitivity/valid": "valid accepted",
            "sensitivity/gross": "gross kinds caught",
            "specificity": "all kinds caught",
        },
        row_heads=("judge", "data", "blur"),
        experiments=JUDGES,
        variants=BLURS,
    ),
    "judges_by_kind": Table(
        columns={f"sensitivity/{kind}": kind.replace("_", " ") for kind in KINDS},
        row_heads=("judge", "data", "blur"),
        experiments=JUDGES,
        variants=BLURS,
    ),
    "judges_photographs": Table(
        columns={"real_false_alarm": "called malformed although right", "real_planted_caught": "planted fault caught"},
        row_heads=("judge", "data", "photographs"),
        experiments=JUDGES,
        variants=("intact", "restored", "smoothed", "removed", "duplicated", "all", "fused"),
    ),
    # The shared agent beside a trusted peer at the same budget, evaluated alike.
    "sac": Table(
        columns={"return@3k": "return after 3k steps", "return@6k": "6k", "return@10k": "10k"},
        row_heads=("experiment", "environment", "agent"),
        experiments=("sac_pendulum", "sac_inverted_pendulum"),
        variants=("sac", "stable_baselines3"),
        published=(
            Published(
                "Pendulum-v1, [RL Baselines3 Zoo](https://github.com/DLR-RM/rl-baselines3-zoo/blob/master/benchmark.md),"
                " SAC after 20k steps, one run, SD over 750 episodes",
                {"return@10k": "-157 +- 89"},
            ),
        ),
    ),
    # What each printed equation does when the rest is right.
    "sac_deviations": Table(
        columns={
            "return@3k": "return after 3k steps",
            "return@6k": "6k",
            "temperature@6k": "temperature at 6k",
            "entropy@6k": "entropy at 6k",
        },
        rows=("variant",),
        row_heads=("equations",),
        experiments=("sac_pendulum", "sac_deviations"),
        variants=tuple(FORMS),
    ),
    # How well a linear map reads the cart-pole off the keypoints, and what another reader could.
    "imm": Table(
        columns={
            "probe/r2_x": "R2 of x",
            "probe/r2_sin": "R2 of sin",
            "probe/r2_cos": "R2 of cos",
            "probe/angle_deg_median": "median angle error, degrees",
            "probe/x_m_median": "median x error, m",
            "probe/kernel_r2_sin": "R2 of sin, kernel probe",
            "probe/kernel_angle_deg_median": "median angle error, kernel probe",
        },
        rows=("experiment",),
        row_heads=("experiment",),
        experiments=IMMS,
        datasets=("cartpole_swingup",),
    ),
    "imm_hands": Table(
        columns={"probe/joint_error": "joint error / hand", "probe/joint_error_constant": "of the mean hand"},
        experiments=("imm_hands",),
    ),
    # Cart-pole swing-up: from the true state, from pixels, from keypoints.
    "pixels": Table(
        columns={f"return@{steps}k": f"return after {steps}k steps" for steps in (25, 50, 75, 100)},
        rows=("experiment",),
        row_heads=("agent",),
        experiments=tuple(PIXELS),
        published=(
            Published(
                "SAC from state, [CURL, table 1](https://arxiv.org/abs/2004.04136)", {"return@100k": "835 +- 22"}
            ),
            Published("SAC+AE, the same table, 10 seeds", {"return@100k": "311 +- 11"}),
            Published(
                "DrQ (batch 512), [arXiv:2004.13649](https://arxiv.org/abs/2004.13649)", {"return@100k": "759 +- 92"}
            ),
            Published("Simoun (ICCV 2023), 5 seeds, the best from pixels alone", {"return@100k": "851 +- 14"}),
        ),
    ),
    # From the original's keypoints in reinforcement learning to ours, a remedy at a time.
    "remedies": Table(
        columns={f"return@{steps}k": f"return after {steps}k steps" for steps in (25, 50)},
        rows=("experiment",),
        row_heads=("what is added to the row above",),
        experiments=tuple(REMEDIES),
        names={name: f"`{name}`: {remedy}" for name, remedy in REMEDIES.items()},
    ),
    # With and without reliable directions and past actions.
    "told": Table(
        columns={f"return@{steps}k": f"return after {steps}k steps" for steps in (25, 50, 100)},
        rows=("experiment",),
        row_heads=("what it is told",),
        experiments=tuple(TOLD),
        names={name: f"`{name}`: {what}" for name, what in TOLD.items()},
    ),
    # What painters of nothing in particular paint, stage by stage.
    "painters": Table(
        columns={
            "samples/confident": "recognised",
            "samples/class_entropy": "entropy of classes (nats)",
            "samples/kid": "KID",
            "samples/strokes": "strokes",
        },
        rows=("experiment", "variant"),
        row_heads=("experiment", "stage"),
        experiments=PAINTERS,
        variants=STAGES,
    ),
    # How near copies come, stage by stage.
    "copies": Table(
        columns={"recon/mse_of_blank": "error, of a blank canvas'", "recon/strokes": "strokes"},
        rows=("experiment", "variant"),
        row_heads=("experiment", "stage"),
        experiments=(*COPIERS, *PAINTERS),
        variants=STAGES,
    ),
    # How right programs of scenes are, and those of a search.
    "scenes": Table(
        columns={
            f"scenes/{metric}": heading
            for metric, heading in (
                ("type_accuracy", "kind"),
                ("position_within_one", "place within a cell"),
                ("size_accuracy", "size"),
                ("colour_accuracy", "colour"),
                ("count_accuracy", "number of objects"),
            )
        },
        rows=("variant",),
        row_heads=("programs by",),
        experiments=("spiral_scenes",),
    ),
    # The same in short, for README.
    "arms_in_short": Table(
        columns={
            "mismatch": "pixels that differ",
            "iou": "IoU",
            "digits_right": "all known digits right",
            "joint_error_rad": "joint error (rad)",
        },
        rows=("experiment", "dataset"),
        row_heads=("experiment", "unseen hands"),
        experiments=("arm_sac", "arm_sac_photographs", "arm_actor_critic"),
        datasets=ARM_FEEDS,
        variants=("rl",),
        published=(HAND_IMITATION,),
    ),
    # How near the arm's silhouette comes to hands that it has never seen.
    "arms": Table(
        columns={
            "mismatch": "pixels that differ",
            "mismatch_first": "after one decision",
            "iou": "IoU",
            "success": "at most 150 of 56x56 pixels",
            "digits_right": "all known digits right",
            "joint_error_rad": "joint error (rad)",
            "joint_error_visible_rad": "of visible digits",
            "usable": "hands found",
        },
        row_heads=("experiment", "hands", "policy"),
        experiments=ARMS,
        datasets=ARM_FEEDS,
        variants=("imitation", "rl"),
        published=(HAND_IMITATION,),
    ),
    # Hands of every method, judged alike.
    "leaderboard": Table(
        columns={"valid_rate/strictest": "valid", **QUALITY, "seconds_per_valid": "seconds per valid hand"},
        rows=("variant",),
        row_heads=("hands by",),
        experiments=("leaderboard",),
        variants=(*(entry.name for entry in ENTRIES), "heldout"),
    ),
    # Our speed beside a reference implementation on the same machine; the unit stands in `variant`.
    "bench": Table(
        columns={"ours": "ours", "reference": "reference", "ratio": "ratio"},
        rows=("variant",),
        row_heads=("what", "unit"),
        split_metric=True,
    ),
}
