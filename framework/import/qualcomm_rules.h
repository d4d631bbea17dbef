// The rules of an experiment that options about what is quantized, and how, become.
#pragma once

#include <string>
#include <vector>

#include "framework/import/qualcomm_command.h"

namespace quell::published {

struct QualcommRules {
  std::string yaml;                   // "quant: ...", with its end of line
  std::vector<std::string> permuted;  // quoted patterns of the sites whose features are permuted
  bool all_permuted = true;           // every site with groups is
  bool never_quantized = false;       // a node with 'ngpK' without an option that permutes
};

// The rules of a command that quantizes, with notes of options that do nothing (most of them are of
// BERT alone, `is_bert`) or something else. Throws ConfigError for what is not imported.
QualcommRules quant_rules(const QualcommCommand& command, bool is_bert, ImportNotes& notes);

}  // namespace quell::published
