#include "solvers/adaround/row_cache.h"

#include "framework/base/error.h"

namespace quell {

bool RowMemory::take(int64_t bytes) {
  if (bytes > free_) return false;
  free_ -= bytes;
  return true;
}

RowCache::~RowCache() { memory_.give_back(taken_); }

void RowCache::add(const at::Tensor& rows, std::span<const int64_t> begins) {
  QUELL_ASSERT(rows.scalar_type() == at::kFloat && rows.dim() == 2, "rows of float32");
  const at::Tensor dense = rows.contiguous();
  features_ = dense.size(1);
  const auto bytes = static_cast<int64_t>(dense.nbytes());
  const auto* data = dense.const_data_ptr<float>();
  int64_t begin = 0;
  const bool fits = file_ == nullptr && memory_.take(bytes);
  if (fits) {
    taken_ += bytes;
    kept_.push_back(dense);
  } else {
    if (file_ == nullptr) {
      file_ = std::make_unique<ScratchFile>(memory_.folder(), "inputs and targets of adaround");
    }
    begin = file_->reserve(bytes);
    file_->write(begin, data, bytes);
  }
  for (size_t i = 0; i + 1 < begins.size(); ++i) {
    const int64_t first = begins[i] * features_;
    places_.push_back({begins[i + 1] - begins[i], fits ? data + first : nullptr,
                       begin + first * static_cast<int64_t>(sizeof(float))});
  }
  total_rows_ += dense.size(0);
}

const float* RowCache::find(int64_t sequence, float* buffer) const {
  const Place& place = places_[static_cast<size_t>(sequence)];
  if (place.data != nullptr) return place.data;
  file_->read(place.begin, buffer, place.rows * features_ * static_cast<int64_t>(sizeof(float)));
  return buffer;
}

}  // namespace quell
