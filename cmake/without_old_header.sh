#!/bin/sh
# Launcher of the compiler for precompiled headers. An earlier one of the same name would be read in
# place of the headers that it is made of, and the compiler cache would take it for a source.
for argument; do
  case $argument in *.gch) rm -f "$argument" ;; esac
done
exec "$@"
