#include <nlohmann/json.hpp>

#include "framework/config/load.h"
#include "fuzz/fuzz.h"

QUELL_FUZZ(yaml) {
  quell::Problems problems;
  const quell::ConfigNode root = quell::parse_yaml(input, "fuzz.yaml", problems);
  quell::to_json(root);
  quell::Problems none;
  quell::parse_yaml(quell::to_yaml(root), "again.yaml", none);
}
