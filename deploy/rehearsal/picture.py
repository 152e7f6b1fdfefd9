"""The timeline as a picture: the error of what was answered, the drift score, and what happened when."""

from pathlib import Path

from deploy.rehearsal.timeline import Timeline

SHOWN = ("drift begins", "alert", "retraining starts", "service swapped", "error down")


def draw(timeline: Timeline, path: Path) -> None:
    """Write the picture; seconds are since the first simulated day."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    began = timeline.days[0].ended
    picture, (above, below) = plt.subplots(2, 1, figsize=(11, 6), sharex=True, height_ratios=(2, 1))
    above.plot(
        [(day.ended - began).total_seconds() for day in timeline.days],
        [day.error for day in timeline.days],
        color="#1f5fa8",
        marker=".",
    )
    above.set_ylabel("error (rmse) of the day")
    # Above the line there is room for what happened.
    above.set_ylim(0, 1.6 * max(day.error for day in timeline.days))
    scored = [point for point in timeline.verdicts() if point.score is not None]
    below.plot(
        [(point.time - began).total_seconds() for point in scored],
        [point.score for point in scored],
        color="#b3541e",
        marker="o",
    )
    for point in scored:
        at = ((point.time - began).total_seconds(), point.score)
        below.annotate(
            f"version {point.version}", at, (0, 6), textcoords="offset points", ha="center", fontsize=8
        )
    below.axhline(1, color="grey", linestyle=":")
    below.set_ylabel("drift score\n(alarm above 1)")
    below.set_xlabel("seconds")
    below.margins(y=0.25)
    top = above.get_ylim()[1]
    for number, name in enumerate(name for name in SHOWN if timeline.has(name)):
        at = (timeline.moments[name][0] - began).total_seconds()
        for axes in (above, below):
            axes.axvline(at, color="black", linewidth=0.8, alpha=0.6)
        # Those that follow one another closely stand one below the other.
        above.text(at + 1, top * (0.97 - 0.06 * number), name, fontsize=9, va="top")
    above.set_xlim(right=above.get_xlim()[1] + 10)
    picture.suptitle(
        "A rehearsal: made-up houses, whose incomes rise and whose prices begin to follow another law"
    )
    picture.tight_layout()
    picture.savefig(path, dpi=110)
    plt.close(picture)
