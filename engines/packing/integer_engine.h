// Linears whose rows and weight both lie on grids of up to 8 bits, and attention whose queries,
// keys, probabilities and values do, computed with their codes. All else as PackedEngine does it.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engines/packing/packed_engine.h"
#include "framework/kernels/integer_product.h"
#include "framework/model/weight_keeper.h"

namespace quell {

class IntegerEngine : public PackedEngine, public WeightKeeper {
 public:
  // `name` is the plug-in's, for what it says. Without a route sums are exact, by the fastest.
  explicit IntegerEngine(std::string name, std::optional<kernels::IntegerRoute> route = {})
      : name_(std::move(name)), route_(route) {}

  Rows linear(const Product& product) const override;
  Rows quantize(const SitePoint& point, const at::Tensor& rows, bool in_place) const override;
  int64_t bytes() const override {
    return PackedEngine::bytes() + packed_.bytes() + tables_.bytes();
  }
  Rows attention(const AttentionSpans& spans, const AttentionShape& shape, const Rows& query,
                 const Rows& key, const Rows& value, const AttentionGrids& grids) const override;
  bool attends_on(const AttentionGrids& grids) const override;
  bool keep(const at::Tensor& weight, const at::Tensor& instead) const override;
  bool keep_table(const Weight& table, const at::Tensor& instead) const override;
  at::Tensor rows_of_table(const at::Tensor& instead, const at::Tensor& ids) const override;
  std::string problem(const QuantSpec& spec) const override;
  std::vector<std::string> notes() const override;

 private:
  // A weight as products read it, or why there is none.
  struct PackedCodes {
    std::optional<kernels::IntegerWeight> weight;
    std::string problem;

    int64_t bytes() const { return weight ? weight->bytes() : 0; }
  };

  // A table, of whose codes rows are made when they are looked up.
  struct CodedTable {
    IntegerCodes codes;

    int64_t bytes() const { return static_cast<int64_t>(codes.codes.nbytes()); }
  };

  std::shared_ptr<const PackedCodes> packed(const Weight& weight, int32_t most) const;
  // Why this product is computed in float; "" where it is not.
  std::string refusal(const Product& product) const;
  // Of attention, likewise.
  std::string refusal(const AttentionSpans& spans, const Rows& query, const Rows& key,
                      const Rows& value, const AttentionGrids& grids) const;
  // Remembers it of what has this name; "": forgets.
  void note(const std::string& name, const std::string& refusal) const;
  // Whether values may be quantized with what makes them: one grid for all, known beforehand.
  bool quantizes_along(const SitePoint* grid) const;
  Rows in_integers(const Product& product, const kernels::IntegerWeight& weight) const;
  Rows in_integers(const AttentionSpans& spans, const AttentionShape& shape, const Rows& query,
                   const Rows& key, const Rows& value, const AttentionGrids& grids) const;

  std::string name_;
  std::optional<kernels::IntegerRoute> route_;
  MadeOfWeights<PackedCodes> packed_;
  MadeOfWeights<CodedTable> tables_;
  mutable std::mutex noting_;
  mutable std::map<std::string, std::string> in_float_;  // why, by site
};

}  // namespace quell
