#include "framework/model/lean_execution.h"

#include <ATen/ops/full.h>
#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "framework/base/free_memory.h"

namespace quell {
namespace {

// What stands for a weight that is kept elsewhere. Whoever reads it gets NaN, which no code is for.
at::Tensor nothing_like(const at::Tensor& weight) {
  return at::full({}, std::numeric_limits<float>::quiet_NaN()).expand(weight.sizes());
}

class Lean final : public Execution {
 public:
  Lean(Model& model, const MatchedTensors& tensors, SitePoints& points, const WeightKeeper& keeper)
      : model_(model),
        tensors_(tensors),
        points_(points),
        keeper_(keeper),
        whole_(execute_whole(model)),
        missing_(model.segments().size()) {
    for (size_t i = 0; i < missing_.size(); ++i) {
      missing_[i].assign(model.segments()[i].tensors.size(), true);
    }
  }
  ~Lean() override {
    for (const Segment& segment : model_.segments()) {
      for (const ModelTensor& tensor : segment.tensors) *tensor.place = at::Tensor();
    }
  }

  void run(std::span<const Batch> batches, const PassOfBatch& pass, BatchOrder order,
           const OutputSink& sink, const CountRuns& count, const Resumable& resumable) override {
    if (batches.empty()) return;
    const std::shared_ptr<const Pass> of_first = pass(0);
    const Outputs first = run_first(batches[0], *of_first);
    if (sink) sink(0, first);
    const int64_t total = std::ssize(batches);
    if (count) count(1, total);
    whole_->run(
        batches.subspan(1), [&](size_t batch) { return pass(batch + 1); }, order,
        [&](size_t batch, const Outputs& outputs) {
          if (sink) sink(batch + 1, outputs);
        },
        [&](int64_t done, int64_t) {
          if (count) count(done + 1, total);
        },
        resumable);
  }

  void for_each_segment(const std::function<void(const Segment&)>& work,
                        SegmentRange range) override {
    const size_t end = std::min(range.end, model_.segments().size());
    for (size_t index = range.first; index < end; ++index) {
      {
        const Borrowed here(*this, index);
        work(model_.segments()[index]);
      }
      return_free_memory();
    }
  }

 private:
  // Gives a segment what is missing of it, for as long as it lives.
  class Borrowed {
   public:
    Borrowed(Lean& lean, size_t index) : segment_(lean.model_.segments()[index]) {
      for (const ModelTensor& tensor : segment_.tensors) own_.push_back(*tensor.place);
      lean.read_missing(index);
    }
    ~Borrowed() {
      size_t next = 0;
      for (const ModelTensor& tensor : segment_.tensors) *tensor.place = std::move(own_[next++]);
    }
    Borrowed(const Borrowed&) = delete;
    Borrowed& operator=(const Borrowed&) = delete;

   private:
    const Segment& segment_;
    std::vector<at::Tensor> own_;
  };

  void read_missing(size_t index) const {
    const auto& tensors = model_.segments()[index].tensors;
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (missing_[index][i]) *tensors[i].place = tensors_.read(tensors[i].stored.name);
    }
  }

  // What `keep` keeps of the tensors of a segment.
  template <class Keep>
  void let_go(size_t index, const Keep& keep) {
    const auto& tensors = model_.segments()[index].tensors;
    for (size_t i = 0; i < tensors.size(); ++i) {
      at::Tensor& weight = *tensors[i].place;
      if (missing_[index][i] || tensors[i].site == kNoSite || !weight.defined()) continue;
      const at::Tensor instead = nothing_like(weight);
      if (!keep(tensors[i].site, weight, instead)) continue;
      weight = instead;
      missing_[index][i] = true;
    }
  }

  void let_go_of_linears(size_t index) {
    let_go(index, [&](SiteId, const at::Tensor& weight, const at::Tensor& instead) {
      const bool kept = keeper_.keep(weight, instead);
      weights_are_codes_ |= kept;
      return kept;
    });
  }

  void let_go_of_tables(size_t index) {
    let_go(index, [&](SiteId site, const at::Tensor& weight, const at::Tensor& instead) {
      const bool is_table = points_.sites()[static_cast<size_t>(site)].role == "embedding";
      const SitePoint* point = points_.point(site);
      if (!is_table || point == nullptr || !point->calibrated) return false;
      if (!keeper_.keep_table(Weight(weight, points_, site), instead)) return false;
      points_.weight_changed(site);  // frees the quantized one
      return true;
    });
  }

  Outputs run_first(const Batch& batch, const Pass& pass) {
    const ModelInput input = model_.bind(batch);
    State state;
    for (size_t i = 0; i < missing_.size(); ++i) {
      if (!is_there_) {
        read_missing(i);
        missing_[i].assign(missing_[i].size(), false);
      }
      model_.segments()[i].run(state, input, pass);
      let_go_of_linears(i);
      for (size_t k = 0; weights_are_codes_ && k <= i; ++k) let_go_of_tables(k);
      return_free_memory();
    }
    is_there_ = true;
    return std::move(state.outputs);
  }

  const Model& model_;
  const MatchedTensors& tensors_;
  SitePoints& points_;
  const WeightKeeper& keeper_;
  std::unique_ptr<Execution> whole_;
  bool weights_are_codes_ = false;  // of the batches that run now
  bool is_there_ = false;           // whatever is needed, because a batch ran through all segments
  std::vector<std::vector<bool>> missing_;  // by segment and tensor
};

}  // namespace

std::unique_ptr<Execution> execute_lean(Model& model, const MatchedTensors& tensors,
                                        SitePoints& points, const WeightKeeper& keeper) {
  return std::make_unique<Lean>(model, tensors, points, keeper);
}

}  // namespace quell
