// Files of GLUE: TSV with and without a header line, and JSON lines.
#include "framework/base/error.h"
#include "fuzz/fuzz.h"
#include "tasks/data/glue_data.h"

QUELL_FUZZ(glue) {
  const std::string ending = input.starts_with('{') ? ".jsonl" : ".tsv";
  const auto file = quell::fuzz::as_file(input, "dev" + ending);
  for (const std::string& name : quell::glue_names()) {
    try {
      quell::read_glue(quell::glue_spec(name), file, /*needs_labels=*/false);
    } catch (const quell::DataError&) {  // other tasks have other columns
    }
  }
}
