#!/usr/bin/env python3
"""Writes who was tested in which version into README.md, from what the tests of the peers print.

    cargo test --features cli,__openssl-peer --test peers 2>&1 | tee peers.log
    tests/peers/versions.py peers.log            # writes the table
    tests/peers/versions.py --check peers.log    # fails where it names other peers; versions and counts may differ
"""

import pathlib
import re
import sys

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
BEGINS, ENDS = "<!-- the peers begin -->\n", "<!-- the peers end -->\n"
HEAD = "| peer | version | conversations |\n|---|---|---|\n"


def rows(log):
    """The peers by name: their versions and the number of conversations."""
    found = {}
    for name, count in re.findall(r"peer: (.+?): (\d+) conversations", log):
        words = name.split()
        versions = [word.strip(",()") for word in words if re.search(r"\d", word)]
        name = " ".join(word for word in words if not re.search(r"\d", word))
        found[name] = (", ".join(versions), count)
    return found


def main():
    check = sys.argv[1:2] == ["--check"]
    found = rows(pathlib.Path(sys.argv[-1]).read_text())
    before, rest = README.read_text().split(BEGINS)
    table, after = rest.split(ENDS)
    if check:
        listed = {line.split("|")[1].strip() for line in table.splitlines()[2:]}
        if listed != set(found):
            sys.exit(f"README.md names {sorted(listed - set(found))}, which did not run, "
                     f"and not {sorted(set(found) - listed)}, which did: tests/peers/versions.py writes its table")
        print(f"README.md names all {len(found)} peers that ran")
        return
    lines = [f"| {name} | {version} | {count} |\n" for name, (version, count) in sorted(found.items(), key=lambda row: row[0].lower())]
    README.write_text(before + BEGINS + HEAD + "".join(lines) + ENDS + after)


main()
