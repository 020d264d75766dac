"""The commands that need a Trainer: fit, validate, test, predict, sample, video and frames, as one LightningCLI."""

import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.trainer.states import TrainerStatus

from handgen import runs
from handgen.callbacks.episode_video import write_gif, write_mp4
from handgen.callbacks.results import ResultWriter
from handgen.checkpoints import load_weights, read_checkpoint, trained_batches
from handgen.cli_messages import friendly_errors, quiet
from handgen.errors import UserError, check_at_least
from handgen.experiment_arguments import Prepared, prepare
from handgen.loggers import finish_wandb, run_loggers
from handgen.memory import keep_freed_memory
from handgen.paths import experiments_root
from handgen.prerequisites import trained_run
from handgen.processes import process_rank, usable_cores
from handgen.sampling import draw_samples, paint_again, repair_picture, write_samples

WIDEST_GIF = 480  # pixels: three pictures side by side
INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class HandgenTrainer(Trainer):
    """Lightning's Trainer with three more entry points, `sample`, `video` and `frames`."""

    def sample(
        self,
        model: LightningModule,
        datamodule: LightningDataModule | None = None,
        ckpt_path: str | None = None,
        count: int = 20,
        sampler: str | None = None,
        sample_seed: int = 0,
        out: str | None = None,
        input: str | None = None,
    ) -> None:
        """Draw unselected samples and write them as PNG files with a contact sheet.

        Args:
            model: A module with ``sample(count, seed, sampler)``.
            datamodule: The experiment's data, for samplers that are fitted to it.
            ckpt_path: Not used here: the command line has loaded the weights before.
            count: Number of samples.
            sampler: Name of one of the module's samplers; null takes its default.
            sample_seed: Seed of the drawing.
            out: Folder for the files; null takes ``samples/`` in the run folder.
            input: Picture to repair instead, for modules with ``repair(image)``: before and after in one file; or
                program of a painting (``painting-000.json``) to paint again, larger, stroke by stroke.
        """
        model.to(self.strategy.root_device)
        check_at_least(1, count=count)
        folder = Path(out) if out else runs.run_folder(self) / "samples"
        if input is not None and Path(input).suffix == ".json":
            print(f"painted again: {paint_again(Path(input), folder)}")
            return
        if input is not None:
            print(f"picture, reconstruction, repaired: {repair_picture(model, datamodule, input, folder)}")
            return
        images, seconds = draw_samples(model, datamodule, count, sample_seed, sampler)
        print(f"{count} samples in {seconds:.1f} s: {write_samples(images, seconds, folder)}")
        painter: Any = model
        if hasattr(painter, "write_programs"):
            print(f"as programs, drawings and a film: {painter.write_programs(folder, count, sample_seed, sampler)}")

    def video(
        self,
        model: LightningModule,
        datamodule: LightningDataModule | None = None,
        ckpt_path: str | None = None,
        feed: str = "rendered",
        count: int = 40,
        out: str | None = None,
    ) -> None:
        """Film a method that imitates while it follows a feed, as MP4 and GIF.

        Args:
            model: Who acts.
            datamodule: Has ``film(agent, feed, count)``.
            ckpt_path: Not used here: the command line has loaded the weights before.
            feed: Film, numbered sequence (hand_%04d.png), folder, number of a camera, or name of a data set.
            count: Pictures of the feed at most.
            out: Folder for the files; null takes ``videos/`` in the run folder.

        Raises:
            UserError: The method follows no feed.
        """
        check_at_least(1, count=count)
        source: Any = datamodule
        if not hasattr(source, "film"):
            raise UserError(f"{type(model).__name__} follows no feed: FEED is for experiments such as arm_sac")
        model.to(self.strategy.root_device).eval()
        frames, rate = source.film(model, feed, count)
        folder = Path(out) if out else runs.run_folder(self) / "videos"
        folder.mkdir(parents=True, exist_ok=True)
        name = "".join(letter if letter.isalnum() else "_" for letter in Path(feed).stem)
        gif = write_gif(frames, folder / f"{name}.gif", rate, WIDEST_GIF)
        print(f"{len(frames)} frames: {write_mp4(frames, folder / f'{name}.mp4', rate)}, {gif}")

    def frames(self, model: LightningModule, datamodule: LightningDataModule, ckpt_path: str | None = None) -> None:
        """Render an experiment's images ahead, if they are not in the cache yet.

        Args:
            model: Not used.
            datamodule: Whose images are rendered.
            ckpt_path: Not used.

        Raises:
            UserError: The experiment's data are no images in a cache.
        """
        source: Any = datamodule
        if not (hasattr(source, "images") and hasattr(source, "cache_dir")):
            raise UserError("nothing is rendered ahead: frames is for experiments such as vae and imm")
        source.prepare_data()
        source.setup("fit")
        print(f"rendered: {len(source.images('train'))} training images in {source.cache_dir}")


class SaveConfig(SaveConfigCallback):
    """Saves the resolved configuration in the run folder and sends it to wandb."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Send the configuration to wandb (Lightning calls this on rank 0, after writing the file)."""
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_hyperparams(self.config.as_dict())


class HandgenCLI(LightningCLI):
    """`LightningCLI` in subclass mode with run folders, exact resuming and evaluation after training.

    Args:
        prepared: The command, with experiment names resolved to files.
    """

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.folder = Path()
        self.checkpoint: Path | None = None
        self.trained_batches = 0
        self.exit_code = 0
        file = "config.yaml" if prepared.command == "fit" else f"config-{prepared.command}.yaml"
        strict: dict[str, Any] = {"exit_on_error": False, "allow_abbrev": False}  # a shortened name is a typo
        defaults = {"default_config_files": [str(experiments_root() / "defaults.yaml")]}
        super().__init__(
            trainer_class=HandgenTrainer,
            save_config_callback=SaveConfig,
            save_config_kwargs={"overwrite": True, "config_filename": file},
            seed_everything_default=0,
            parser_kwargs={**strict, **{name: {**strict, **defaults} for name in self.subcommands()}},
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The commands, each with the arguments that are not settings."""
        own = {name: {"model", "datamodule"} for name in ("sample", "video", "frames")}
        return {**LightningCLI.subcommands(), **own}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the settings that stand beside ``trainer``, ``model`` and ``data``."""
        parser.add_argument("--name", type=str | None, help="name of the experiment (default: its file's name)")
        parser.add_argument("--runs", type=str, default="runs", help="folder of the run folders")
        parser.add_argument("--threads", type=int | None, help="CPU threads of torch (default: all cores)")
        parser.add_argument(
            "--evaluate_after_fit",
            type=bool,
            default=True,
            help="evaluate the final weights when training is done",
        )
        starts_from = "experiment whose newest run model.vae names, unless it is given; it is trained first if need be"
        parser.add_argument("--starts_from", type=str | None, help=starts_from)
        laid_over = "experiment that the file states the differences from; the file alone can say so"
        parser.add_argument("--laid_over", type=str | None, help=laid_over)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the given words only (Lightning's own would remark that ``sys.argv`` holds others)."""
        self.config = parser.parse_args([self.prepared.command, *self.prepared.words])
        self._settings = self.config[self.prepared.command]
        self._settings["name"] = self._settings["name"] or self.prepared.experiment or "unnamed"

    def _parse_ckpt_path(self) -> None:
        """Do nothing: a checkpoint's hyperparameters never beat the command line."""

    def before_instantiate_classes(self) -> None:
        """Choose the run folder and the checkpoint, and set the number of threads and what becomes of freed memory."""
        keep_freed_memory()
        settings, root = self._settings, Path(self._settings["runs"])
        threads = settings["threads"] or int(os.environ.get("OMP_NUM_THREADS") or usable_cores())
        torch.set_num_threads(threads)
        self.seed = int(settings["seed_everything"] or 0)
        self.checkpoint = self._find_checkpoint(settings["ckpt_path"], root, settings["name"])
        if self.checkpoint:
            self.trained_batches = trained_batches(read_checkpoint(self.checkpoint))
        if settings["starts_from"]:
            self._provide_start(root, settings["starts_from"], threads)
        self.folder = self._find_folder(root, settings["name"])

    def _provide_start(self, root: Path, experiment: str, threads: int) -> None:
        """Set ``model.vae``: as given, else the run's own checkpoint, else the newest run of ``starts_from``."""
        arguments = self._settings["model"]["init_args"]
        if arguments["vae"] is not None:
            return
        if self.checkpoint:
            arguments["vae"] = str(self.checkpoint)
            return

        def train(words: Sequence[str]) -> int:
            with own_environment():
                if os.environ.pop("WANDB_SWEEP_ID", None):  # the sweep is about the run that starts from this one
                    os.environ.pop("WANDB_RUN_ID", None)
                    os.environ["WANDB_MODE"] = "disabled"
                return run(prepare(words[0], [*words[1:], f"--threads={threads}"]))

        arguments["vae"] = str(trained_run(root, experiment, self.seed, train))
        self.prepared.given.append(f"--model.vae={arguments['vae']}")  # records name what they started from
        self._set_seed()  # a training before has used it up
        torch.set_num_threads(threads)

    def after_instantiate_classes(self) -> None:
        """Create the run folder, now that nothing asked for is known to be impossible."""
        if process_rank() == 0 and self.prepared.command != "frames":
            runs.create(self.folder)

    def _find_checkpoint(self, asked: str | None, root: Path, name: str) -> Path | None:
        """The checkpoint that ``--ckpt_path`` means; to evaluate without one means the newest run's."""
        training = self.prepared.command in ("fit", "frames")
        if asked in (None, "last") and not training:
            return runs.newest_run_or_error(root, name, self.seed) / runs.LAST_CHECKPOINT
        if asked == "last":
            newest = runs.newest_run(root, name, self.seed)
            if newest is None:
                print(f"no run of {name} with seed {self.seed} to continue: starting fresh")
            return newest / runs.LAST_CHECKPOINT if newest else None
        return Path(asked) if asked and asked != "none" else None

    def _find_folder(self, root: Path, name: str) -> Path:
        """The folder of the run that is continued or evaluated, else a new one."""
        shared = os.environ.get("HANDGEN_RUN_FOLDER")  # set by rank 0 for the other ranks of one machine
        if shared:
            return Path(shared)
        earlier = runs.folder_of_checkpoint(self.checkpoint) if self.checkpoint else None
        continues = self.prepared.command != "fit" or self._settings["ckpt_path"] == "last"
        folder = earlier if earlier and continues else runs.new_run_folder(root, name, self.seed)
        os.environ["HANDGEN_RUN_FOLDER"] = str(folder)
        return folder

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the Trainer in the run folder, with the loggers and the writer of results."""
        config = self._get(self.config_init, "trainer")
        kwargs.setdefault("default_root_dir", str(self.folder))
        if config["logger"] in (None, True):
            kwargs["logger"] = self._loggers() if not config["fast_dev_run"] else False
        writer = ResultWriter(
            experiment=self._settings["name"],
            seed=self.seed,
            command=shlex.join(["handgen", *self.prepared.given]),
        )
        kwargs["callbacks"] = [*(config["callbacks"] or []), writer]
        return super().instantiate_trainer(**kwargs)

    def _loggers(self) -> list[Logger] | bool:
        """The run's loggers; drawing samples, filming and rendering log nothing."""
        if self.prepared.command in ("sample", "video", "frames"):
            return False
        before = self.trained_batches if self.prepared.command == "fit" else None
        return run_loggers(self.folder, self._settings["name"], before_step=before)

    def _run_subcommand(self, subcommand: str) -> None:
        """Run the command; after Ctrl-C say how to continue."""
        try:
            super()._run_subcommand(subcommand)
        except SystemExit:  # how Lightning ends after Ctrl-C, with SIGINT left ignored
            if self.trainer.state.status != TrainerStatus.INTERRUPTED:
                raise
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self.exit_code = INTERRUPTED
            print(self._how_to_continue(), file=sys.stderr)

    def _how_to_continue(self) -> str:
        """The command that continues this run, in one line."""
        if not (self.folder / runs.LAST_CHECKPOINT).is_file():
            return "interrupted: no epoch was finished, so nothing was saved"
        words, given = list[str](), iter(self.prepared.given)
        for word in given:
            if word == "--ckpt_path":
                next(given, None)
            elif not word.startswith("--ckpt_path="):
                words.append(word)
        command = shlex.join(["python", "-m", "handgen", *words, "--ckpt_path=last"])
        return f"interrupted: continue with {command}"

    def fit(self, **kwargs: Any) -> None:
        """Train, from the checkpoint if one is asked for, and evaluate the final weights."""
        kwargs["ckpt_path"] = str(self.checkpoint) if self.checkpoint else None
        kwargs["weights_only"] = True
        if self.checkpoint:
            print(f"continuing from {self.checkpoint}")
        self.trainer.fit(**kwargs)
        if self._settings["evaluate_after_fit"] and self._can_test():
            self.trainer.test(self.model, datamodule=self.datamodule, verbose=False)

    def _can_test(self) -> bool:
        """Whether the module defines a test step."""
        return type(self.model).test_step is not LightningModule.test_step

    def _evaluate(self, command: str, kwargs: dict[str, Any]) -> None:
        """Load the weights asked for, and run one of the Trainer's other entry points."""
        if self.checkpoint:
            load_weights(self.model, self.checkpoint)
            print(f"weights: {self.checkpoint}")
        kwargs.update(ckpt_path=None)
        kwargs.pop("weights_only", None)
        getattr(self.trainer, command)(**kwargs)

    def validate(self, **kwargs: Any) -> None:
        """Run over the validation data."""
        self._evaluate("validate", kwargs)

    def test(self, **kwargs: Any) -> None:
        """Evaluate."""
        self._evaluate("test", {**kwargs, "verbose": False})

    def predict(self, **kwargs: Any) -> None:
        """Predict."""
        self._evaluate("predict", kwargs)

    def sample(self, **kwargs: Any) -> None:
        """Draw samples."""
        self._evaluate("sample", kwargs)

    def video(self, **kwargs: Any) -> None:
        """Film."""
        self._evaluate("video", kwargs)


@contextmanager
def own_environment() -> Iterator[None]:
    """Give the environment variables back as they were: tests call `run` many times in one process."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def run(prepared: Prepared) -> int:
    """Run one command to its end.

    Returns:
        The exit code.

    Raises:
        UserError: What was asked cannot be done.
    """
    quiet()
    with own_environment(), friendly_errors():
        code = 1
        try:
            cli = HandgenCLI(prepared)
            code = cli.exit_code
        finally:
            finish_wandb(code)
    if not cli.exit_code and prepared.command != "frames":
        print(f"run folder: {cli.folder}")
    return cli.exit_code
