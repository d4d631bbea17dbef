#include "tasks/data/model_fit.h"

#include <fmt/format.h>

#include "framework/base/error.h"

namespace quell {

void check_model_fits(const TaskContext& context, const std::string& task,
                      const std::string& length_key, int64_t length) {
  if (context.tokenizer == nullptr) {
    throw DataError(
        fmt::format("task {} needs the tokenizer of the model, but the model folder has none "
                    "(tokenizer.json, vocab.txt, or vocab.json with merges.txt); task tokens takes "
                    "ready token ids",
                    task));
  }
  if (context.tokenizer->largest_id() >= context.vocabulary_size) {
    throw DataError(
        fmt::format("the vocabulary does not fit the model: the tokenizer gives ids up to {}, but "
                    "the model embeds only {}; take vocabulary and weights from the same model",
                    context.tokenizer->largest_id(), context.vocabulary_size));
  }
  if (length > context.max_positions) {
    throw ConfigError(
        fmt::format("task.{0} {1}: the model takes at most {2} tokens; set {0} to {2} or less",
                    length_key, length, context.max_positions));
  }
}

int64_t capped_length(const TaskContext& context, const std::string& length_key, int64_t length,
                      std::vector<std::string>& notes) {
  if (context.tokenizer == nullptr) return length;  // check_model_fits() says so
  const auto most = context.tokenizer->model_max_length();
  if (!most || *most >= length) return length;
  notes.push_back(fmt::format(
      "task.{0} {1}: texts are cut to {2} tokens, the model_max_length of tokenizer_config.json",
      length_key, length, *most));
  return *most;
}

}  // namespace quell
