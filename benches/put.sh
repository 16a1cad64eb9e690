#!/bin/sh
# Put what comes on standard input into README, between the marks of that name.
set -eu
cd "$(dirname "$0")"
awk -v name="$1" -v text="$(cat)" '
  $0 == "<!-- the " name " end -->" { inside = 0 }
  !inside { print }
  $0 == "<!-- the " name " begin -->" { print "\n" text "\n"; inside = 1 }
' README.md >README.md.new
mv README.md.new README.md
