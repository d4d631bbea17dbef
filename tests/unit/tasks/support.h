// What the tests of tasks share: files in a temporary folder, a small tokenizer, plug-ins by YAML.
#pragma once

#include <gtest/gtest.h>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "framework/base/file.h"
#include "framework/config/load.h"
#include "framework/plugin/registry.h"
#include "framework/task/task.h"
#include "tests/support/paths.h"
#include "tests/support/temporary_folder.h"

namespace quell {

void register_task_glue(Plugins& plugins);
void register_task_squad(Plugins& plugins);
void register_task_tokens(Plugins& plugins);
void register_task_summarization(Plugins& plugins);
void register_task_perplexity(Plugins& plugins);
void register_task_multiple_choice(Plugins& plugins);

inline std::filesystem::path shared_folder() { return source_folder() / ".." / "shared"; }

// [CLS] 1, [SEP] 2; a word's id is its length + 10.
class WordTokenizer : public Tokenizer {
 public:
  std::vector<Encoding> encode(std::string_view text, std::optional<std::string_view> pair,
                               const TokenizerOptions& options) const override {
    Encoding encoding;
    encoding.ids = {1};
    append(text, encoding.ids);
    encoding.type_ids.assign(encoding.ids.size(), 0);
    if (pair) append(*pair, encoding.ids);
    encoding.type_ids.resize(encoding.ids.size(), 1);
    if (options.max_length && static_cast<int64_t>(encoding.ids.size()) > *options.max_length) {
      encoding.ids.resize(*options.max_length);
      encoding.type_ids.resize(*options.max_length);
    }
    return {encoding};
  }
  std::string decode(const std::vector<int64_t>&, bool) const override { return ""; }
  int64_t vocabulary_size() const override { return 50; }
  int64_t largest_id() const override { return 49; }
  int64_t pad_id() const override { return 0; }
  std::optional<int64_t> model_max_length() const override { return most; }
  const std::vector<std::string>& notes() const override { return notes_; }
  std::optional<int64_t> most = std::nullopt;

 private:
  static void append(std::string_view text, std::vector<int64_t>& ids) {
    std::istringstream stream{std::string(text)};
    std::string word;
    while (stream >> word) ids.push_back(std::min<int64_t>(10 + std::ssize(word), 49));
    ids.push_back(2);
  }
  std::vector<std::string> notes_;
};

// The task `name` with parameters written in YAML.
inline std::unique_ptr<Task> make_task(const std::string& name, const std::string& yaml,
                                       const TaskContext& context) {
  Plugins plugins;
  register_task_glue(plugins);
  register_task_squad(plugins);
  register_task_tokens(plugins);
  register_task_summarization(plugins);
  register_task_perplexity(plugins);
  register_task_multiple_choice(plugins);
  Problems problems;
  const ConfigNode node = parse_yaml(yaml, "test.yaml", problems);
  ReadContext read_context{problems};
  const auto& entry = plugins.tasks.get(name);
  const std::shared_ptr<void> params = entry.params().make();
  entry.params().read(node, "task", read_context, params.get());
  problems.throw_if_any();
  return entry.create(params.get(), context);
}

// The message of the exception of type `Exception` that `action` throws.
template <class Exception>
std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Exception& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another exception: " << error.what();
    return "";
  }
  ADD_FAILURE() << "no exception";
  return "";
}

}  // namespace quell
