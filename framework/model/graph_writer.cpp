#include "framework/model/graph_writer.h"

#include <fmt/format.h>

#include "framework/base/error.h"

namespace quell {

void refuse_graph(const std::string& what) {
  throw ConfigError(
      fmt::format("{} cannot be written as a graph for other runtimes yet; BERT, RoBERTa, "
                  "DistilBERT and ELECTRA that classify or answer questions can, and `quell export "
                  "--format quell` takes every network",
                  what));
}

}  // namespace quell
