"""The page of a life: one self-contained HTML file."""

from training.axes import BLUE, GREY, RED, new_axes, png
from training.lifecycle import Lived
from training.page import document, figures, note, table

# name of a week's figure, words for it, colour and line
_SHOWN = (
    ("fresh", "all that was known when the day began", GREY, "--"),
    ("served", "terminal risk renewed, as served", BLUE, "-"),
    ("retrained", "renewed and retrained weekly", RED, "-"),
    ("not_renewed", "not renewed", GREY, ":"),
)


def lifecycle_page(lived: Lived, source: str) -> str:
    """Render what came of the weeks."""
    means = (f"{lived.mean(name):.3f}" for name, *_ in _SHOWN)
    rows = [
        *(
            (
                str(each.week),
                str(each.first_day),
                f"{each.transactions:,}",
                f"{each.frauds:,}",
                *(f"{getattr(each, name):.3f}" for name, *_ in _SHOWN),
            )
            for each in lived.weeks
        ),
        ("mean", "", "", "", *means),
    ]
    heads = ("week", "from", "#transactions", "#frauds", *(f"#{words}" for _, words, *_ in _SHOWN))
    what = (
        f"Average precision on all transactions of each week after a promotion on "
        f"{lived.weeks[0].first_day}, on {source}. Labels come when the delay is over. Terminal risk was "
        f"renewed an hour after each midnight; {lived.renewals} tables were released. It is one model "
        "throughout, but where it says retrained."
    )
    chance = (
        f"What weekly retraining gained in the mean of the weeks lies from {lived.gained[0]:+.4f} to "
        f"{lived.gained[1]:+.4f} (90 %, by cards)."
        if lived.gained
        else "Too few cards have frauds to tell what weekly retraining gained from chance."
    )
    caption = "The upper lines lie on one another where nothing is lost by serving."
    return document(
        "What a model is worth while it serves",
        f"""{note(what)}
{figures([("Average precision by week", _plot(lived), caption)])}
{table(heads, rows)}
<h2>Weekly retraining</h2>
{note(chance)}
{"".join(note(each) for each in lived.retraining)}""",
    )


def _plot(lived: Lived) -> bytes:
    figure, axes = new_axes("week after the promotion", "average precision")
    weeks = [each.week for each in lived.weeks]
    for name, words, colour, line in _SHOWN:
        values = [getattr(each, name) for each in lived.weeks]
        axes.plot(weeks, values, line, color=colour, marker="o", markersize=4, label=words)
    axes.set(ylim=(0, 1.02), xticks=weeks)
    axes.legend(loc="lower left")
    return png(figure)
