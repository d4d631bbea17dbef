// Heads that a checkpoint does not have.
#pragma once

#include <ATen/core/Tensor.h>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "framework/io/checkpoint.h"

namespace quell::internal {

// Whether a tensor belongs to a pooler, classifier or other head of a Hugging Face model.
bool belongs_to_head(const std::string& name);

// Whether a tensor that a model does not use is known to be left over: from a pre-training head, a
// pooler, or an old version of the library that stored what it did not read.
bool is_left_over(const std::string& name);

// Whether a tensor outside of the base model, whose names begin with `prefix`, is of a head or of a
// loss: a model that has all of its own can do without.
bool is_other_head(const std::string& name, const std::string& prefix);

// The tensor of a new head as Checkpoint::start_head() says: the same for the same seed on
// every machine.
at::Tensor new_tensor(const ExpectedTensor& expected, const NewHead& head,
                      const nlohmann::json& config);

}  // namespace quell::internal
