// CSV with a header, JSON lines, or a list.
#include "fuzz/fuzz.h"
#include "tasks/data/summary_data.h"

QUELL_FUZZ(summaries) {
  const std::string ending =
      input.starts_with('{') ? ".jsonl" : (input.starts_with('[') ? ".json" : ".csv");
  quell::read_summaries(quell::fuzz::as_file(input, "dev" + ending), {});
}
