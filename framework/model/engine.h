// Who computes the operations of a pass.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <string>
#include <vector>

#include "framework/kernels/activation.h"
#include "framework/model/attention.h"
#include "framework/model/operands.h"
#include "framework/model/rows.h"

namespace quell {

// activation(rows * weight^T + bias), quantized where there is a grid.
struct Product {
  const Rows& rows;      // [n, inputs]
  const Weight& weight;  // [outputs, inputs]
  at::Tensor bias = {};  // [outputs]; undefined: there is none
  kernels::Activation activation = kernels::Activation::kNone;  // comes to engines that join
  const SitePoint* grid = nullptr;
  bool codes_suffice = false;  // what reads the result takes rows_of_codes()
};

// Where attention's matrices and the context are quantized; null: they are not.
struct AttentionGrids {
  const SitePoint* scores = nullptr;
  const SitePoint* probs = nullptr;
  const SitePoint* context = nullptr;
  bool codes_suffice = false;  // what reads the context takes rows_of_codes()
  const Site* site = nullptr;  // of the probabilities, for engines that speak of them
};

// LibTorch, with the bits of published code. A plug-in of engines/ overrides what it computes
// itself; it is never asked where gradients are recorded, and several threads may call it at once.
// All tensors are float32.
class Engine {
 public:
  virtual ~Engine() = default;
  // Whether it is given several operations as one, where nothing happens between them: then it
  // overrides all three of them.
  virtual bool joins() const { return false; }
  virtual Rows linear(const Product& product) const;
  // The rows [n, features] on the grid of an activation site; may overwrite them where asked to.
  virtual Rows quantize(const SitePoint& point, const at::Tensor& rows, bool in_place) const;
  // The context of attention, as the three functions of attention.h one after another give it.
  // Grids of matrices come to engines that say so.
  virtual Rows attention(const AttentionSpans& spans, const AttentionShape& shape,
                         const Rows& query, const Rows& key, const Rows& value,
                         const AttentionGrids& grids = {}) const;
  virtual bool attends_on(const AttentionGrids& /*grids*/) const { return false; }
  // `norm` of rows + added [n, features], which may be undefined; gamma is that of the pass.
  virtual at::Tensor norm(const Norm& norm, const at::Tensor& gamma, const at::Tensor& rows,
                          const at::Tensor& added) const;
  // That it holds beside the model's tensors.
  virtual int64_t bytes() const { return 0; }
  // Of engines that compute with codes: why one cannot take those of such a site; "" where it can.
  virtual std::string problem(const QuantSpec& /*spec*/) const { return ""; }
  // What it has to say of how it computed so far.
  virtual std::vector<std::string> notes() const { return {}; }
};

}  // namespace quell
