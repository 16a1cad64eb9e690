"""Judges what BoringSSL's runner found, by config.json beside this file.

Every case must have passed; or failed as `Deviations` says; or be disabled, or have been refused by
the shim, for a reason that the configuration gives. Each run must come to the same outcomes, and
no entry may be left over.
"""

import argparse
import collections
import fnmatch
import json
import pathlib
import re
import sys

RESULT = re.compile(r"^(PASSED|FAILED|UNIMPLEMENTED) \((.*)\)$")


def entry(table, word):
    """The key of `table`, a pattern, that fits `word`."""
    return next((key for key in table if fnmatch.fnmatchcase(word, key)), None)


def failures(log):
    """The runner's words on each case that failed."""
    words, current = {}, None
    for line in log.splitlines():
        if found := RESULT.match(line):
            current = words.setdefault(found[2], []) if found[1] == "FAILED" else None
        elif current is not None:
            current.append(line)
    return {name: "\n".join(lines).strip() for name, lines in words.items()}


class Judge:
    def __init__(self, config):
        self.config = config
        self.used = set()
        self.problems = []

    def use(self, table, word):
        key = entry(self.config[table], word)
        self.used.add((table, key))
        return key

    def run(self, out):
        """The outcome of each case of the run whose files begin with `out`."""
        results = pathlib.Path(f"{out}.json")
        log = pathlib.Path(f"{out}.log").read_text(errors="replace")
        if not results.exists():
            sys.exit(f"the runner did not finish:\n{log[-2000:]}")
        words = failures(log)
        outcomes = {}
        for name, test in json.loads(results.read_text())["tests"].items():
            outcomes[name] = {"PASS": "passed", "SKIP": "unimplemented", "FAIL": "failed"}[test["actual"]]
            deviates = self.use("Deviations", name)
            if outcomes[name] == "failed" and deviates:
                expected = self.config["Deviations"][deviates]["got"]
                if all(part in words.get(name, "") for part in expected):
                    outcomes[name] = "deviating"
            if outcomes[name] == "failed":
                self.problems.append(f"{out.name}: {name}: {words.get(name, '')}")
            if outcomes[name] == "passed" and deviates:
                self.problems.append(f"{out.name}: {name} passes; its deviation {deviates} is gone")
        return outcomes

    def refusals(self, out):
        """The reasons of the shim in the configuration's words, with their counts."""
        path = pathlib.Path(f"{out}.reasons")
        counts = collections.Counter()
        for line in path.read_text().splitlines() if path.exists() else []:
            if key := self.use("Unimplemented", line):
                counts[self.config["Unimplemented"][key]] += 1
            else:
                self.problems.append(f"{out.name}: the shim refuses, and no reason stands for: {line}")
        return counts

    def left_over(self):
        for table in ("DisabledTests", "Deviations", "Unimplemented"):
            for key in self.config[table]:
                if (table, key) not in self.used:
                    self.problems.append(f"{table}: nothing is {key}")


def show(title, counts):
    print(f"\n{title}: {sum(counts.values())}")
    for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        print(f"{count:7} {reason}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=pathlib.Path, required=True)
    parser.add_argument("--names", type=pathlib.Path, required=True, help="the names of all cases")
    parser.add_argument("--some", action="store_true", help="not all cases were run")
    parser.add_argument("runs", type=pathlib.Path, nargs="+")
    arguments = parser.parse_args()
    judge = Judge(json.loads(arguments.config.read_text()))

    names = arguments.names.read_text().splitlines()
    disabled = collections.Counter()
    for name in names:
        # Patterns overlap; each of them is used.
        keys = [key for key in judge.config["DisabledTests"] if fnmatch.fnmatchcase(name, key)]
        judge.used.update(("DisabledTests", key) for key in keys)
        if keys:
            disabled[judge.config["DisabledTests"][keys[0]]] += 1

    runs = {run.name: judge.run(run) for run in arguments.runs}
    refusals = {run.name: judge.refusals(run) for run in arguments.runs}
    first, *others = runs
    for other in others:
        for name in sorted(runs[first].keys() | runs[other].keys()):
            here, there = runs[first].get(name), runs[other].get(name)
            if here != there:
                judge.problems.append(f"{name}: {here} in {first}, {there} in {other}")
    if not arguments.some:
        judge.left_over()
        if missing := set(names) - runs[first].keys():
            left = {name for name in missing if not entry(judge.config["DisabledTests"], name)}
            judge.problems.extend(f"{name} did not run" for name in sorted(left))

    if not arguments.some:
        show("disabled", disabled)
    show("unimplemented", refusals[first])
    deviating = collections.Counter(
        judge.config["Deviations"][entry(judge.config["Deviations"], name)]["reason"]
        for name, outcome in runs[first].items()
        if outcome == "deviating"
    )
    show("refused as they must be, in other words than the runner's", deviating)
    print(f"\n{len(names)} cases in the runner")
    for name, outcomes in runs.items():
        counts = collections.Counter(outcomes.values())
        kinds = ("passed", "deviating", "unimplemented", "failed")
        print(f"{name:>9}: " + ", ".join(f"{counts[kind]} {kind}" for kind in kinds))
    for problem in judge.problems:
        print(f"\nPROBLEM {problem}")
    sys.exit(1 if judge.problems else 0)


main()
