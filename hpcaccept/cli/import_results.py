"""``hpcaccept import-results``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hpcaccept.cli.options import baselines_dir_option, format_option, paths


@click.command("import-results")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--model", required=True, metavar="NAME", help="Exact name the driver gives the GPU: nvidia-smi -L.")
@click.option(
    "--gpus", type=click.IntRange(min=0), default=0, metavar="N", help="GPUs per node.  [default: ranks in the files]"
)
@click.option(
    "--baseline", type=click.Path(path_type=Path), metavar="FILE", help="Baseline of SuperBench: its failing limits."
)
@click.option(
    "--history", type=click.Path(path_type=Path), metavar="DIR", help="Judge by the past in DIR, and add to it."
)
@baselines_dir_option
@format_option
def import_results(
    files: tuple[Path, ...],
    model: str,
    gpus: int,
    baseline: Path | None,
    history: Path | None,
    form: str,
    **options: Any,
) -> int:
    """Judge SuperBench's results (JSON lines, one node a line), each file as one run: per node, by peers, baseline and past.

    The exit code is the worst of the files: 1 for a FAIL, 3 where something could not be judged. Give older files first.
    """
    from hpcaccept.app.baseline.import_results import judge_files

    codes = []
    for text, code in judge_files(files, model, gpus, baseline, paths(**options)[1], history, form):
        click.echo(text, nl=False)
        codes.append(code)
    return 1 if 1 in codes else max(codes)
