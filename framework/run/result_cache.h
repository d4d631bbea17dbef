// Results that runs have in common, in a folder that they share.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "framework/model/tensor_store.h"
#include "framework/task/task.h"

namespace quell {

// Keeps each result under the SHA-256 of its origin, a text that says all that it follows from.
// Several processes may use one folder at the same time: entries are written atomically, and equal
// origins mean equal results. Throws DataError for an entry that is damaged.
class ResultCache {
 public:
  ResultCache() = default;  // keeps nothing
  explicit ResultCache(std::filesystem::path folder) : folder_(std::move(folder)) {}
  bool enabled() const { return !folder_.empty(); }

  std::optional<Evaluation> evaluation(const std::string& origin) const;
  void keep(const std::string& origin, const Evaluation& evaluation) const;

  // Takes what was written for a batch from the cache where it is there, else from `generate`. The
  // cache must live as long as what is returned.
  Generate cached(const std::string& origin, Generate generate) const;

  std::optional<NamedTensors> tensors(const std::string& origin) const;
  void keep(const std::string& origin, const NamedTensors& tensors) const;

  // What a step had stored when it ended (StepProgress), as a file; copies it to `file` where it is
  // there.
  void fetch_progress(const std::string& origin, const std::filesystem::path& file) const;
  void keep_progress(const std::string& origin, const std::filesystem::path& file) const;

 private:
  std::filesystem::path entry(const std::string& origin, const char* ending) const;

  std::filesystem::path folder_;
};

}  // namespace quell
