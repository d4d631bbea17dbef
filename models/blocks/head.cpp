#include "models/blocks/head.h"

#include "models/blocks/residual.h"

namespace quell {

void Head::write(GraphWriter& /*writer*/, const GraphWriter::Value& /*rows*/) const {
  refuse_graph("this model's head");
}

GraphWriter::Value write_first_rows(GraphWriter& writer, const GraphWriter::Value& rows) {
  return writer.operation("Gather", {rows, writer.integer(0)}, {{"axis", int64_t{1}}});
}

Rows first_rows(const Rows& rows, const ModelInput& input) {
  const bool has_all = rows.values.size(0) != input.batch.sequences();
  return chosen_rows(rows, has_all ? input.first_rows : at::Tensor());
}

}  // namespace quell
