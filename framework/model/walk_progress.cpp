#include "framework/model/walk_progress.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "framework/base/error.h"
#include "framework/io/safetensors.h"
#include "framework/quant/device.h"

namespace quell {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPlace = "walk";  // the next segment, and the number of batches with states
constexpr const char* kCollected = "collected/";

SiteId site_of(const SitePoint* grid, const SitePoints& points) {
  for (SiteId id = 0; id < std::ssize(points.sites()); ++id) {
    if (points.point(id) == grid) return id;
  }
  QUELL_ASSERT(false, "rows on the grid of no site");
}

void add_rows(const std::string& prefix, const Rows& rows, const SitePoints& points,
              NamedTensors& all) {
  if (!rows.values.defined()) return;
  NamedTensors own{{"values", rows.values}};
  if (rows.grid != nullptr) own["site"] = at::tensor(site_of(rows.grid, points), at::kLong);
  if (rows.codes != nullptr) {
    const QuantParameters& of = rows.codes->parameters;
    own["codes"] = rows.codes->codes;
    own["scale"] = of.scale;
    own["zero_point"] = of.zero_point;
    own["levels"] = at::tensor({of.levels.low, of.levels.high}, at::kFloat);
  }
  add_named(prefix, own, all);
}

Rows rows_of(const std::string& prefix, const NamedTensors& all, const SitePoints& points,
             at::Device device) {
  const NamedTensors own = part_of(all, prefix);
  if (own.empty()) return {};
  Rows rows{stored_tensor(own, "values").to(device)};
  if (own.contains("site")) {
    rows.grid = points.point(static_cast<SiteId>(own.at("site").item<int64_t>()));
  }
  if (own.contains("codes")) {
    const float* levels = stored_tensor(own, "levels").const_data_ptr<float>();
    rows.codes = std::make_shared<const IntegerCodes>(
        IntegerCodes{own.at("codes"),
                     {stored_tensor(own, "scale"), stored_tensor(own, "zero_point"),
                      kernels::Levels{levels[0], levels[1]}}});
  }
  return rows;
}

fs::path file_of(const fs::path& folder, size_t batch) {
  return folder / fmt::format("{}.safetensors", batch);
}

}  // namespace

WalkProgress::WalkProgress(StepProgress progress, const SitePoints& points, at::Device device)
    : progress_(std::move(progress)), points_(points), device_(device) {
  const NamedTensors& saved = progress_.saved();
  if (saved.empty()) return;
  const int64_t* place = stored_tensor(saved, kPlace).const_data_ptr<int64_t>();
  next_ = static_cast<size_t>(place[0]);
  batches_ = static_cast<size_t>(place[1]);
  collected_ = part_of(saved, kCollected);
}

fs::path WalkProgress::folder_of(size_t next) const {
  return progress_.folder() / fmt::format("states-{}", next);
}

void WalkProgress::take_states(StateStore& states, size_t batches) const {
  if (batches_ == 0) return;
  QUELL_ASSERT(batches == batches_, "the walk of other batches");
  for (size_t batch = 0; batch < batches; ++batch) {
    const SafetensorsFile file(file_of(folder_of(next_), batch));
    NamedTensors tensors;
    for (const std::string& name : file.names()) tensors[name] = file.read(name);
    State state;
    state.rows = rows_of("rows/", tensors, points_, device_);
    state.memory = rows_of("memory/", tensors, points_, device_);
    states.put(batch, std::move(state));
  }
}

void WalkProgress::save(size_t next, const StateStore& states, size_t batches,
                        const NamedTensors& collected) {
  const fs::path folder = folder_of(next);
  fs::create_directories(folder);
  for (size_t batch = 0; batch < batches; ++batch) {
    const State state = states.get(batch);
    NamedTensors tensors;
    add_rows("rows/", state.rows, points_, tensors);
    add_rows("memory/", state.memory, points_, tensors);
    std::vector<std::pair<std::string, at::Tensor>> kept;
    for (const auto& [name, tensor] : tensors) {
      kept.emplace_back(name, on_host(tensor, "states on disk"));
    }
    write_safetensors(file_of(folder, batch), kept);
  }
  commit(next, batches, collected);
}

void WalkProgress::save_end(size_t next, const NamedTensors& collected) {
  if (!keeps()) return;
  commit(next, 0, collected);
}

void WalkProgress::commit(size_t next, size_t batches, const NamedTensors& collected) {
  NamedTensors all{
      {kPlace, at::tensor({static_cast<int64_t>(next), static_cast<int64_t>(batches)}, at::kLong)}};
  add_named(kCollected, collected, all);
  progress_.save(all);
  if (batches_ > 0 && next_ != next) fs::remove_all(folder_of(next_));
  next_ = next;
  batches_ = batches;
}

}  // namespace quell
