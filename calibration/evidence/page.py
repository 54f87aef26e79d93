"""The page of the evidence as Markdown, from its results alone: every number on it comes from there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from calibration.evidence.measure import OWN_SIZE, WHOLE_FRAME
from calibration.evidence.site_curve import mean_of
from engines.pages import NOTICE

Numbers = Mapping[str, Any]
_WORST = 12
_NOTHING, _LOST = "nothing here", ("not found", "no cell")


def page(results: Numbers, results_file: str) -> str:
    """The text. results_file: name of the JSON beside it."""
    sets = [*results["sets"], *([results["rendered"]] if results["rendered"] else [])]
    parts = [
        _head(results, results_file),
        ["## In short", *_short(results["sets"])],
        ["## Which films", *_films(sets)],
        ["## Blasts against other white cells", *_blasts(sets)],
        ["## What is found and named", *_named(sets)],
        ["## Film by film", *_by_film(sets)],
        ["## What it misses and confuses", *_errors(sets)],
        ["## Whether its probabilities mean what they say", *_calibration(sets)],
        ["## What a site's own cells bring", *_site(results["site"])],
        ["## Its worst errors, in pictures", *_pictures(results["rendered"])],
        ["## How this was measured", *_method(results)],
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def shown(one: Numbers) -> Numbers:
    """What the appliance shows of a set: the last look, in a whole frame where that was tried."""
    ways = one["ways"]
    looks: Sequence[Numbers] = ways.get(WHOLE_FRAME) or ways[OWN_SIZE]
    return looks[-1]


def _head(results: Numbers, results_file: str) -> list[str]:
    engine, naming = results["engine"], results["naming"]
    layer = f"naming layer {naming['label']}" if naming else "no naming layer: types are the detector's own, named from its score on"
    return [
        "# What it finds, names and misses",
        "",
        f"**{NOTICE}** {engine['name']} {engine['version']} ({engine['precision']}, digest `{engine['digest'][:8]}`), {layer}; "
        "measured "
        f"{results['created'][:10]} with leukoscope {results['leukoscope']}. This page is written by `attridet evidence` from "
        f"[{results_file}]({results_file}); no number on it was typed by hand.",
    ]


def _short(sets: Sequence[Numbers]) -> list[str]:
    both = [one for one in sets if shown(one)["blasts"]["youden"] is not None]
    lines = []
    patients = sum(one["patients"] or 0 for one in sets)
    unknown = sum(one["patients"] is None for one in sets)
    lines.append(
        f"- **Films**: {len(sets)} sets, {sum(one['pictures'] for one in sets)} pictures, {sum(one['white'] for one in sets)} "
        "labelled white "
        f"cells, {sum(one['blasts'] for one in sets)} of them blasts or equivalents. {patients} patients are known by name; of "
        f"{unknown} "
        "sets nobody knows how many patients they show. What holds for so few says little of the next microscope."
    )
    for one in sets:
        look = shown(one)
        counts = look["counts"]
        if counts["blasts"]:
            told = f"{counts['blasts_told']} of {counts['blasts']} blasts told as a blast"
            lost = (
                f"{counts['blasts_lost']} lost, {counts['blasts_unsure']} unidentified, {counts['blasts_other']} told as another cell"
            )
            others = (
                f"; {counts['others_told_blast']} of {counts['others']} other white cells told as a blast" if counts["others"] else ""
            )
            lines.append(f"- **{_label(one)}** ({one['words']}): {told} ({lost}){others}.")
        else:
            false = f"{counts['others_told_blast']} of {counts['others']} told as a blast" if counts["others"] else "no white cell"
            nothing = f"{counts['invented_blasts']} blasts told where nothing is labelled"
            lines.append(f"- **{_label(one)}** ({one['words']}, no blast labelled): {false}, {nothing}.")
    if both:
        worst = min(both, key=lambda one: shown(one)["blasts"]["youden"])
        lines.append(
            f"- **Worst of all**: {_label(worst)}, Youden's J {_number(shown(worst)['blasts']['youden'], '.2f')} (chance is 0)."
        )
    lines.append("- A count of no blasts never rules out leukaemia: see above how many it does not tell.")
    return lines


def _films(sets: Sequence[Numbers]) -> list[str]:
    rows = (
        (
            _label(one),
            one["words"],
            one["pictures"],
            "not known" if one["patients"] is None else one["patients"],
            one["white"],
            one["blasts"],
            "yes, other pictures of it" if one["source_known"] else "no",
        )
        for one in sets
    )
    heads = ("set", "films", "pictures", "patients", "white cells", "blasts", "trained on this source")
    return [*_table(heads, rows), "", *(f"- {_label(one)}: scored {one['scored']}" for one in sets)]


def _views(one: Numbers) -> Iterable[tuple[str, Numbers]]:
    ways = one["ways"]
    for way in (WHOLE_FRAME, OWN_SIZE):
        looks = ways.get(way) or ()
        for look in reversed(looks):
            yield f"{look['look']}, {way}", look


def _blasts(sets: Sequence[Numbers]) -> list[str]:
    rows = []
    for one in sets:
        for view, look in _views(one):
            blasts = look["blasts"]
            if blasts["sensitivity"] is None and blasts["specificity"] is None:
                continue
            rows.append(
                (
                    _label(one),
                    view,
                    _number(blasts["auc"], ".2f"),
                    _between(look, "sensitivity", blasts["sensitivity"]),
                    _between(look, "specificity", blasts["specificity"]),
                    _between(look, "youden", blasts["youden"]),
                )
            )
    cautions = dict.fromkeys(
        f"- {_label(one)}: {shown(one)['intervals']['caution']}" for one in sets if shown(one)["intervals"]["caution"]
    )
    return [
        "The first row of each set is what the appliance shows. Sensitivity is of all labelled blasts, also of those not found; "
        "specificity of all "
        "labelled white cells that are no blasts; Youden's J is their sum less one. In brackets 95 % intervals with patients as "
        "clusters.",
        "",
        *_table(("set", "look", "AUC", "sensitivity", "specificity", "Youden's J"), rows),
        "",
        *cautions,
    ]


def _named(sets: Sequence[Numbers]) -> list[str]:
    rows = []
    for one in sets:
        look = shown(one)
        c, shares = look["counts"], look["shares"]
        named, grouped = (sum(c[f"{kind}_{how}"] for how in ("right", "wrong", "invented")) for kind in ("named", "grouped"))
        foreign = look["foreign"]
        rows.append(
            (
                _label(one),
                f"{c['found']} of {c['white']}" if c["white"] else "-",
                c["named_invented"] + c["grouped_invented"] + c["unsure_invented"],
                f"{c['named_right']} of {named}" if named else "-",
                f"{c['grouped_right']} of {grouped}" if grouped else "-",
                _percent(shares["told_right"]),
                _percent(shares["told_right_on_cells"]),
                _percent(shares["unidentified"]),
                f"{foreign['films']} of {foreign['of']}" if foreign["of"] else "-",
            )
        )
    heads = (
        "set",
        "white cells found",
        "told where nothing is labelled",
        "types right",
        "groups right",
        "right of all told",
        "right of those on labelled cells",
        "unidentified",
        "films told as foreign",
    )
    return [
        "As the appliance shows it. A cell is told as a type, as a group alone (blast or equivalent; other white cell), or as "
        "unidentified; on a film "
        "that is unlike all that is known, as a group at most.",
        "",
        *_table(heads, rows),
    ]


def _by_film(sets: Sequence[Numbers]) -> list[str]:
    rows = []
    for one in sets:
        if one["patients"] is None:
            continue
        for film in shown(one)["films"]:
            percent, interval, c = film["blast_percent"], film["blast_interval"], film["counts"]
            rows.append(
                (
                    _label(one),
                    film["film"],
                    f"{c['white']}, {c['told_white']}",
                    _number(percent["labelled"], ".0f"),
                    _number(percent["told"], ".0f"),
                    f"{_number(interval['low'], '.0f')} to {_number(interval['high'], '.0f')}",
                    f"{c['blasts_told']} of {c['blasts']}" if c["blasts"] else "-",
                    film["likeness"],
                )
            )
    heads = (
        "set",
        "patient",
        "white cells labelled, told",
        "blasts, % labelled",
        "told",
        "95 % of counting",
        "blasts told",
        "like known films",
    )
    if not rows:
        return ["No set names its patients."]
    return [
        *_table(heads, rows),
        "",
        "The interval is what counting so few cells leaves open to a perfect reader; wrong names come on top of it.",
    ]


def _errors(sets: Sequence[Numbers]) -> list[str]:
    found = []
    for one in sets:
        for label, answers in shown(one)["answers"].items():
            total = sum(answers.values())
            for told, count in answers.items():
                right = (
                    told == label or (label == _NOTHING and told == "no cell") or told == "unidentified" or _is_group(told, label, one)
                )
                if not right and not (label == "None" and told in _LOST):
                    found.append((count, _label(one), label, told, total))
    found.sort(key=lambda row: (-row[0], row[1:]))
    rows = [(place, label, told, f"{count} of {total}") for count, place, label, told, total in found[:_WORST]]
    return [
        "The most frequent wrong answers of what the appliance shows; a right group, and unidentified, are none.",
        "",
        *_table(("set", "labelled", "told as", "cells"), rows),
    ]


def _is_group(told: str, label: str, one: Numbers) -> bool:
    return told in one["groups"].get(label, ())


def _calibration(sets: Sequence[Numbers]) -> list[str]:
    rows = []
    for one in sets:
        both = shown(one)["calibration"]
        if both["types"]["cells"]:
            errors = (both[what]["expected_calibration_error"] for what in ("types", "blasts"))
            rows.append((_label(one), both["types"]["cells"], *(_number(error, ".3f") for error in errors)))
    return [
        "Expected calibration error: the mean distance between the probability stated and the share that was so, over ten bins of "
        "the white cells "
        "found. Pages of `attridet evaluate --page` draw it.",
        "",
        *_table(("set", "cells", "of the type", "of a blast"), rows),
    ]


def _site(site: Numbers | None) -> list[str]:
    if site is None:
        return ["Not measured: the bundle has no naming layer, or the plan names no site."]
    lines = [
        f"`attridet learn` was given so many labelled white cells of `{site['folder']}/{site['split']}` ({site['pool_cells']} "
        "white cells of "
        f"{site['pool_patients']} patients), with as large a share of its artefacts, mixed half and half with the bundle's open "
        "cells; judged on "
        "other patients, at the boxes that the detector finds, pictures at their own size. Mean of the draws, least and largest "
        "in brackets. These "
        "layers are for measuring; none is shipped.",
        "",
    ]
    for label, about in site["judged"].items():
        left_out = f"; left out: {about['left_out']} whom the site has too" if about["left_out"] else ""
        patients = "1 patient" if about["patients"] == 1 else f"{about['patients']} patients"
        lines += [f"**{label}**, {patients}, {about['white']} white cells{left_out}:", ""]
        rows = []
        for row in site["rows"]:
            drawn = row["judged"][label]
            if drawn:
                scores = [
                    _spread(drawn, key, spec)
                    for key, spec in (("auc", ".2f"), ("j", ".2f"), ("sensitivity", ".2f"), ("false_blasts", ".2f"))
                ]
                scores += [
                    _spread(drawn, "percent_off", ".0f"),
                    _spread(drawn, "group_right", ".2f"),
                    _spread(drawn, "typed_right", ".2f"),
                ]
                rows.append((row["cells"] or "none: the bundle's own layer", *scores, _spread(drawn, "foreign_patients", ".0f")))
        heads = (
            "site cells",
            "AUC",
            "J",
            "sensitivity",
            "others told as blast",
            "blast % off by, points",
            "groups right",
            "types right",
            "patients foreign",
        )
        lines += [*_table(heads, rows), ""]
    return [*lines, *([f"![Youden's J over the site's cells]({site['picture']})"] if "picture" in site else [])]


def _pictures(rendered: Numbers | None) -> list[str]:
    said = (
        "Pictures of patients' films are not in this repository: their sources forbid it, or say nothing. `attridet evidence … "
        "--pictures DIR` writes "
        "the worst of each set into a folder outside it."
    )
    if rendered is None or not rendered.get("shown"):
        return [said]
    shown_here = [f"![Rendered film: labelled left, told right]({name})" for name in rendered["shown"]]
    return [said, "", "Rendered film, the pictures on which labels (left) and the detector (right) agree least:", "", *shown_here]


def _method(results: Numbers) -> list[str]:
    frame = f" and laid into a grey frame of {results['frame']} px, as a camera would give it," if results["frame"] else ""
    return [
        f"Each picture was judged at its own size{frame} with pixel aspect undone; a box counts as found at IoU one half. Working "
        "point: "
        f"confidence {results['confidence']:g}, the bundle's. Ran on {results['engine']['runtime']}. Weights and naming layer "
        "were fitted to: "
        f"{', '.join(results['trained_on']) or 'nothing named'}.",
        "",
        "```",
        results["command"],
        "```",
        "",
        "Never for: " + "; ".join(results["must_not_be_used_for"]) + ".",
    ]


def _label(one: Numbers) -> str:
    return f"{one['folder']}/{one['split']}"


def _between(look: Numbers, name: str, value: float | None) -> str:
    interval = look["intervals"]["each"].get(name)
    words = _number(value, ".2f")
    return words if interval is None or interval["low"] is None else f"{words} ({interval['low']:.2f} to {interval['high']:.2f})"


def _spread(drawn: Sequence[dict[str, Any]], key: str, spec: str) -> str:
    mean, low, high = mean_of(drawn, key)
    return _number(mean, spec) if len(drawn) < 2 else f"{_number(mean, spec)} ({_number(low, spec)} to {_number(high, spec)})"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _number(value: float | None, spec: str) -> str:
    return "-" if value is None or value != value else format(value, spec)  # noqa: PLR0124  # NaN alone differs from itself


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    body = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads), *body] if body else ["None."]
