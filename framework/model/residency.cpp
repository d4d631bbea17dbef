#include "framework/model/residency.h"

#include <future>
#include <map>
#include <vector>

#include "framework/base/error.h"
#include "framework/quant/device.h"

namespace quell {
namespace {

class AllResident final : public Residency {
 public:
  Lease acquire(size_t) override { return nullptr; }
};

class OneAtATime final : public Residency {
 public:
  OneAtATime(Model& model, const MatchedTensors& tensors, SitePoints& points,
             const Rewrites& rewrites)
      : model_(model), tensors_(tensors), points_(points), rewrites_(rewrites) {}

  Lease acquire(size_t segment) override {
    QUELL_ASSERT(!held_, "one segment at a time");
    put_in_place(segment, next_.valid() && next_segment_ == segment ? next_.get() : read(segment));
    next_ = {};
    if (segment + 1 < model_.segments().size()) {
      next_segment_ = segment + 1;
      next_ = std::async(std::launch::async, [this, segment] { return read(segment + 1); });
    }
    held_ = true;
    return Lease(this, [this, segment](const void*) { release(segment); });
  }

 private:
  std::vector<at::Tensor> read(size_t segment) const {
    std::vector<at::Tensor> result;
    const Segment& of = model_.segments()[segment];
    copy_aside(of.device, [&] {
      for (const ModelTensor& tensor : of.tensors) {
        const at::Tensor stored = tensors_.read(tensor.stored.name);
        result.push_back(stored.defined() ? stored.to(of.device) : stored);
      }
    });
    return result;
  }

  void put_in_place(size_t segment, std::vector<at::Tensor> tensors) {
    size_t next = 0;
    for (const ModelTensor& tensor : model_.segments()[segment].tensors) {
      *tensor.place = std::move(tensors[next++]);
      used_here(*tensor.place);
    }
    rewrites_.redo(segment);
  }

  void release(size_t segment) {
    for (const ModelTensor& tensor : model_.segments()[segment].tensors) {
      *tensor.place = at::Tensor();
      if (tensor.site != kNoSite) points_.weight_changed(tensor.site);
    }
    held_ = false;
  }

  Model& model_;
  const MatchedTensors& tensors_;
  SitePoints& points_;
  const Rewrites& rewrites_;
  bool held_ = false;
  size_t next_segment_ = 0;
  std::future<std::vector<at::Tensor>> next_;
};

}  // namespace

std::unique_ptr<Residency> all_resident() { return std::make_unique<AllResident>(); }

std::unique_ptr<Residency> one_at_a_time(Model& model, const MatchedTensors& tensors,
                                         SitePoints& points, const Rewrites& rewrites) {
  return std::make_unique<OneAtATime>(model, tensors, points, rewrites);
}

}  // namespace quell
