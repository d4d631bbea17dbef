#include "tests/support/records.h"

namespace quell {
namespace {

template <class T>
std::vector<T> values(const at::Tensor& column) {
  const T* data = column.const_data_ptr<T>();
  return {data, data + column.numel()};
}

}  // namespace

std::vector<SearchRecord> searches(const std::vector<Record>& records) {
  std::vector<SearchRecord> result;
  for (const Record& record : records) {
    if (record.group != "searches") continue;
    const auto tried = values<double>(record.columns.at(0).values);
    const auto loss = values<double>(record.column("loss"));
    const auto batches = values<int64_t>(record.column("batches"));
    SearchRecord& search = result.emplace_back();
    for (size_t i = 0; i < loss.size(); ++i) {
      search.candidates.push_back({tried[i], loss[i], batches[i]});
    }
    for (const auto& [name, value] : record.attributes) {
      if (name == "chosen") search.chosen = std::get<int64_t>(value);
      if (name == "sites") search.sites = std::get<std::string>(value);
    }
  }
  return result;
}

std::vector<LearningRecord> learning(const std::vector<Record>& records) {
  std::vector<LearningRecord> result;
  for (const Record& record : records) {
    if (record.group != "learning") continue;
    result.push_back(
        {values<double>(record.column("loss")), values<double>(record.column("learning_rate"))});
  }
  return result;
}

}  // namespace quell
