#!/usr/bin/env bash
# Prints a Python that has modules: python_with.sh MODULE... Installs them from Debian or Ubuntu where they
# are missing and root may do so. Prints nothing where there is none.
set -euo pipefail

modules=$(IFS=,; echo "import $*")
packages=("${@/#/python3-}")

find_python() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -c "$modules" 2> /dev/null; then
      echo "$python"
      return
    fi
  done
}

python=$(find_python)
if [[ -z $python ]] && command -v apt-get > /dev/null && ((EUID == 0)); then
  echo "Installing packages: ${packages[*]}" >&2
  export DEBIAN_FRONTEND=noninteractive
  { apt-get install -qq -y --no-install-recommends "${packages[@]}" ||
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends "${packages[@]}"; }; } \
    > /dev/null 2>&1 || true
  python=$(find_python)
fi
echo "$python"
