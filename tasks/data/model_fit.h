// Whether a task's texts fit the model that is to read them.
#pragma once

#include <cstdint>
#include <string>

#include "framework/run/task.h"

namespace quell {

// Throws DataError when the model has no tokenizer or one of another vocabulary, and ConfigError
// when `length`, the task's parameter `length_key`, exceeds its positions.
void check_model_fits(const TaskContext& context, const std::string& task,
                      const std::string& length_key, int64_t length);

}  // namespace quell
