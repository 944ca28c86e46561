"""What ``promtool check metrics`` complains about, for our own metrics, and what makes a page whole.

The rules are those of Prometheus's documentation on naming and of its linter.
"""

import re

from prometheus_client.parser import text_string_to_metric_families

SUFFIXES = {"histogram": ("_bucket", "_count", "_sum"), "summary": ("_count", "_sum")}
NOT_BASE_UNITS = re.compile(
    r"_(m|u|n|milli|micro|nano|kilo|mega|giga)?(s|ms|us|ns|sec|secs|minutes|hours|days|kb|mb|gb|"
    r"kilobytes|megabytes|gigabytes|milliseconds|microseconds|nanoseconds|percent|percents|bits)(_|$)"
)
TYPES = re.compile(r"(^|_)(counter|gauge|histogram|summary|untyped)(_|$)")
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def lint(family):
    """Complaints about one family of prometheus_client's data model."""
    name, problems = family.name, []
    # The parser takes the suffix off a counter's name, so only its samples show it.
    names = {sample.name for sample in family.samples}
    if not family.documentation:
        problems.append("no help text")
    if family.type == "counter" and not all(each.endswith("_total") for each in names):
        problems.append("a counter's name ends in _total")
    if family.type != "counter" and any(each.endswith("_total") for each in names):
        problems.append("only a counter's name ends in _total")
    if family.type not in SUFFIXES and name.endswith(SUFFIXES["histogram"]):
        problems.append("a suffix of histograms")
    if TYPES.search(name):
        problems.append("the type in its name")
    if NOT_BASE_UNITS.search(name):
        problems.append("not a base unit")
    if not NAME.fullmatch(name):
        problems.append("not in snake case")
    for sample in family.samples:
        for label in sample.labels:
            if not NAME.fullmatch(label):
                problems.append(f"label {label} is not in snake case")
            if label in ("le", "quantile") and family.type not in SUFFIXES:
                problems.append(f"label {label} outside of a histogram")
    return [f"{name}: {problem}" for problem in dict.fromkeys(problems)]


def check_page(text):
    """Parse a page with the official parser; returns its families by name, and all problems."""
    problems = []
    seen, order = {}, []
    for line in text.splitlines():
        if line.startswith(("# HELP ", "# TYPE ")):
            _, word, name, rest = [*line.split(" ", 3), ""][:4]
            if word in seen.setdefault(name, {}):
                problems.append(f"{name}: {word} twice")
            if word == "TYPE" and "HELP" not in seen[name]:
                problems.append(f"{name}: TYPE before HELP")
            seen[name][word] = rest
            order.append(name)
        elif line and not line.startswith("#"):
            name = re.match(r"[a-zA-Z_:][\w:]*", line)[0]
            family = order[-1] if order else ""
            kind = seen.get(family, {}).get("TYPE", "")
            if name not in (family, *(family + suffix for suffix in SUFFIXES.get(kind, ()))):
                problems.append(f"{name}: below the head of {family!r}")
    if text and not text.endswith("\n"):
        problems.append("the last line has no end")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for family in families.values():
        problems += _check_series(family)
    return families, problems


def _check_series(family):
    series = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples]
    for twice in {each for each in series if series.count(each) > 1}:
        yield f"{twice}: twice"
    if family.type == "histogram":
        yield from _check_histogram(family)


def _check_histogram(family):
    buckets, counts = {}, {}
    for sample in family.samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        key = tuple(sorted(labels.items()))
        if sample.name.endswith("_bucket"):
            buckets.setdefault(key, []).append((float(sample.labels["le"]), sample.value))
        elif sample.name.endswith("_count"):
            counts[key] = sample.value
    for key, found in buckets.items():
        if found != sorted(found) or [n for _, n in found] != sorted(n for _, n in found):
            yield f"{family.name}{key}: buckets are not in order"
        if found[-1][0] != float("inf") or found[-1][1] != counts.get(key):
            yield f"{family.name}{key}: the last bucket is not the count"
