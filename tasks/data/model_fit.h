// Whether a task's texts fit the model that is to read them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/task/task.h"

namespace quell {

// Throws DataError when the model has no tokenizer or one of another vocabulary, and ConfigError
// when `length`, the task's parameter `length_key`, exceeds its positions. The tokenizer may have
// special tokens that the model does not embed, such as a <mask> that no text contains: the model
// refuses them where they occur.
void check_model_fits(const TaskContext& context, const std::string& task,
                      const std::string& length_key, int64_t length);

// The smaller of `length` and the tokenizer's model_max_length, which the scripts of Hugging Face
// for classification and for questions take, too. Notes where that is less than `length`, the
// task's parameter `length_key`.
int64_t capped_length(const TaskContext& context, const std::string& length_key, int64_t length,
                      std::vector<std::string>& notes);

}  // namespace quell
