#!/bin/sh
# Run two commands beside one another: sh tools/beside.sh "first" "second". What the second says is
# shown after the first has ended. Fails if one of them does, and stops both when it is interrupted.
said=$(mktemp)
trap 'kill "$second" 2>/dev/null; rm -f "$said"' EXIT
trap 'exit 130' INT TERM
$2 >"$said" 2>&1 &
second=$!
$1
first=$?
wait "$second"
last=$?
cat "$said"
[ "$first" -eq 0 ] && [ "$last" -eq 0 ]
