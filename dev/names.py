"""Counts the names of functions and types in the Rust code: a report, not a gate.

One-word names say little to a reader who sees them far from their definition. The goals (CONTRIBUTING.md): under 35 % of
the functions, under 20 % of the types, and over 93 % of the type names unique in the workspace. Test functions, the
methods of traits and associated types are left out: their names are given by somebody else.

    python3 dev/names.py [--list]      --list prints the one-word names and the type names that stand more than once
"""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEFINITION = re.compile(r"^\s*(?:pub(?:\([^)]*\))?\s+)?(?:const\s+|async\s+|unsafe\s+)*(fn|struct|enum|trait|type)\s+(\w+)")
IMPL_OF_TRAIT = re.compile(r"^(\s*)(?:unsafe\s+)?impl\b.*\bfor\b.*\{\s*$")
TESTS = re.compile(r"^#\[cfg\(test\)\]")


def definitions(path: Path) -> list[tuple[str, str, int]]:
    """Kind, name and line of every definition of one file that its author named."""
    found: list[tuple[str, str, int]] = []
    skip_until: str | None = None
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        if TESTS.match(line) and number < len(lines) and lines[number].startswith("mod ") and lines[number].endswith("{"):
            break  # the tests stand last in a file
        if skip_until is not None:
            if line == skip_until:
                skip_until = None
            continue
        if opened := IMPL_OF_TRAIT.match(line):
            skip_until = opened[1] + "}"
            continue
        if defined := DEFINITION.match(line):
            found.append((defined[1], defined[2], number))
    return found


def one_word(kind: str, name: str) -> bool:
    """Whether a name is one word: `read`, `Found`."""
    if kind == "fn":
        return "_" not in name.strip("_")
    return len(re.findall(r"[A-Z][a-z0-9]*", name)) <= 1


def main() -> None:
    files = subprocess.run(["git", "ls-files", "*.rs"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    sources = [name for name in files if "/src/" in name]
    named = [(file, *each) for file in sources for each in definitions(ROOT / file)]
    functions = [each for each in named if each[1] == "fn"]
    types = [each for each in named if each[1] != "fn"]
    short_functions = [each for each in functions if one_word(*each[1:3])]
    short_types = [each for each in types if one_word(*each[1:3])]
    counts = Counter(each[2] for each in types)
    unique = sum(counts[each[2]] == 1 for each in types)
    for what, part, whole, goal in [
        ("functions with a one-word name:", len(short_functions), len(functions), "under 35 %"),
        ("types with a one-word name:    ", len(short_types), len(types), "under 20 %"),
        ("unique type names:             ", unique, len(types), "over 93 %"),
    ]:
        print(f"{what} {part} of {whole} ({part / whole:.0%}; goal: {goal})")
    if "--list" in sys.argv[1:]:
        for file, kind, name, line in [*short_types, *(each for each in types if counts[each[2]] > 1), *short_functions]:
            print(f"{file}:{line}: {kind} {name}")


if __name__ == "__main__":
    main()
