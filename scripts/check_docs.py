#!/usr/bin/env python3
"""Holds what the documents say against what there is: links, headings, settings, make targets, paths, the example .env.

Documents age where nobody looks; each check here is one way in which they did.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(ROOT.glob("*.md"))
# Folders of the repository that documents speak of.
FOLDERS = ("src/", "tests/", "scripts/", "benches/", "config/", "migrations/", "examples/", "web/", ".ci/")
# Names in capitals that are no settings of the gateway.
OTHER_NAMES = {"CARGO_TARGET_DIR", "GEMINI_BALANCE_SKIP_WEB", "RUST_LOG", "TEST_REDIS"}


def main():
    settings = known_settings()
    checks = {
        "links": broken_links,
        "settings": lambda document: unknown_settings(document, settings),
        "make targets": unknown_targets,
        "paths": missing_paths,
    }
    failed = 0
    for name, check in checks.items():
        problems = [f"{document.name}: {problem}" for document in DOCUMENTS for problem in check(document)]
        failed += report(name, problems)
    failed += report(".env.example", example_problems(settings))
    total = len(checks) + 1
    print(f"documents: {total - failed} passed, {failed} failed")
    return 1 if failed else 0


def report(name, problems):
    print(f"{name}: {'ok' if not problems else ''}")
    for problem in problems:
        print(f"  {problem}")
    return bool(problems)


def known_settings():
    """The settings, and the names of the original that are accepted without effect."""
    defaults = tomllib.loads((ROOT / "config/default.toml").read_text())
    names = (ROOT / "src/config/names.rs").read_text()
    accepted = names.split("WITHOUT_EFFECT", 1)[1].split("];", 1)[0]
    return {name.upper() for name in defaults} | set(re.findall(r'"([A-Z_]+)"', accepted))


def prose(document):
    """The text without its code blocks."""
    return re.sub(r"^```.*?^```", "", document.read_text(), flags=re.M | re.S)


def broken_links(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = document.parent / path if path else document
        if not file.exists():
            yield f"{target} leads nowhere"
        elif anchor and anchor not in anchors(file):
            yield f"{target}: there is no such heading"


def anchors(document):
    """The names that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.*)$", prose(document), flags=re.M)
    plain = (re.sub(r"[^\w\s-]", "", heading.lower()) for heading in headings)
    return {re.sub(r"\s", "-", heading.strip()) for heading in plain}


def unknown_settings(document, settings):
    text = document.read_text()
    named = re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=[^`]*)?`", text)
    named += re.findall(r"^([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)=", text, flags=re.M)
    return [f"{name} is not a setting" for name in sorted(set(named) - settings - OTHER_NAMES)]


def unknown_targets(document):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    text = document.read_text()
    named = set(re.findall(r"`make ([a-z-]+)", text)) | set(re.findall(r"^make ([a-z-]+)", text, flags=re.M))
    return [f"make {name} does not exist" for name in sorted(named - targets)]


def missing_paths(document):
    for path in sorted(set(re.findall(r"`([\w./-]+)`", prose(document)))):
        if path.startswith(FOLDERS) and "local.toml" not in path and not (ROOT / path).exists():
            yield f"{path} does not exist"


def example_problems(settings):
    lines = (ROOT / ".env.example").read_text().splitlines()
    named = [match[1] for line in lines if (match := re.match(r"#?([A-Z_]+)=", line))]
    return [f"{name} is not a setting" for name in named if name not in settings]


if __name__ == "__main__":
    sys.exit(main())
