#!/usr/bin/env python3
"""Holds the dependencies against deny.toml: licences, banned crates, two versions of one crate, where they come from.

Reads the same lists as cargo-deny, which takes long to build and fetches its advisories from outside; this needs cargo
and the standard library alone. Advisories are what it leaves out.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"


def main():
    rules = tomllib.loads((ROOT / "deny.toml").read_text())
    packages = shipped_packages(rules["graph"])
    checks = [
        ("licences", licence_problems(packages, rules["licenses"])),
        ("banned crates", ban_problems(packages, rules["bans"])),
        ("duplicates", duplicate_problems(packages, rules["bans"])),
        ("sources", source_problems(packages)),
    ]
    for name, problems in checks:
        print(f"{name}: {'ok' if not problems else ''}")
        for problem in problems:
            print(f"  {problem}")
    failed = sum(bool(problems) for _, problems in checks)
    print(f"{len(packages)} crates looked at")
    print(f"dependencies: {len(checks) - failed} passed, {failed} failed")
    return 1 if failed else 0


def shipped_packages(graph):
    """The packages that a build contains on any of the targets; ours and what only tests use are left out."""
    shipped = {}
    for target in graph["targets"]:
        command = ["cargo", "metadata", "--locked", "--all-features", "--format-version=1", "--filter-platform", target]
        text = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
        metadata = json.loads(text)
        nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
        ours = metadata["resolve"]["root"]
        reached, waiting = set(), [ours]
        while waiting:
            node = waiting.pop()
            if node in reached:
                continue
            reached.add(node)
            for dependency in nodes[node]["deps"]:
                if any(kind["kind"] != "dev" for kind in dependency["dep_kinds"]):
                    waiting.append(dependency["pkg"])
        shipped |= {p["id"]: p for p in metadata["packages"] if p["id"] in reached - {ours}}
    return sorted(shipped.values(), key=lambda package: (package["name"], package["version"]))


def name_of(package):
    # What stands behind a plus is no part of what cargo compares.
    return f"{package['name']}@{package['version'].split('+')[0]}"


def licence_problems(packages, rules):
    allowed = set(rules["allow"])
    used, problems = set(), []
    for package in packages:
        expression = package["license"] or "no licence"
        found = satisfying(expression, allowed)
        if found is None:
            problems.append(f"{name_of(package)} is under {expression}, which deny.toml does not allow")
        else:
            used |= found
    problems += [f"nothing is under {licence}: take it from the list" for licence in sorted(allowed - used)]
    return problems


def satisfying(expression, allowed):
    """The allowed licences in an SPDX expression if they are enough for it, else None. A slash is an old OR."""
    tokens = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))

    def any_of():
        terms = [all_of()]
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            terms.append(all_of())
        good = [term for term in terms if term is not None]
        return set().union(*good) if good else None

    def all_of():
        terms = [one()]
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            terms.append(one())
        return None if None in terms else set().union(*terms)

    def one():
        token = tokens.pop(0)
        if token == "(":
            inner = any_of()
            tokens.pop(0)
            return inner
        if tokens and tokens[0] == "WITH":
            token = f"{token} WITH {tokens[1]}"
            del tokens[:2]
        return {token} if token in allowed else None

    return any_of()


def ban_problems(packages, rules):
    banned = {rule["crate"]: rule["reason"] for rule in rules["deny"]}
    return [f"{name_of(p)} is banned: {banned[p['name']]}" for p in packages if p["name"] in banned]


def duplicate_problems(packages, rules):
    skipped = {rule["crate"] for rule in rules["skip"]}
    versions = defaultdict(list)
    for package in packages:
        versions[package["name"]].append(name_of(package))
    needed, problems = set(), []
    for same in versions.values():
        if len(same) > 1:
            needed |= skipped & set(same)
            if len(set(same) - skipped) > 1:
                problems.append(f"{' and '.join(same)}: update who holds the older one back, or say in deny.toml who it is")
    problems += [f"{crate} is no duplicate any more: take it from the list" for crate in sorted(skipped - needed)]
    return problems


def source_problems(packages):
    return [f"{name_of(p)} comes from {p['source']}" for p in packages if p["source"] != CRATES_IO]


if __name__ == "__main__":
    sys.exit(main())
