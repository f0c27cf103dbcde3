"""Write a run's report again."""

from pixelwright.cli._options import RunFolder


def report(run: RunFolder) -> None:
    """Write the report of a run again."""
    from pixelwright.cli._source import run_of
    from pixelwright.console import Console

    path = run_of(str(run))

    from pixelwright import jobs

    Console().written([jobs.report(path)])
