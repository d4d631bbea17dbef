// What operations compute with: rows and weights, and the grids that they lie on.
#pragma once

#include <ATen/core/Tensor.h>
#include <memory>
#include <string>

#include "framework/quant/codes.h"
#include "framework/quant/site_points.h"

namespace quell {

// What flows between operations.
struct Rows {
  at::Tensor values;                // [rows, features] float32; NaN of rows_of_codes()
  const SitePoint* grid = nullptr;  // of the site that quantized them; null: they are float
  // Their codes on that grid, of engines that compute with codes; else null. (codes - zero_point)
  // * scale are the values.
  std::shared_ptr<const IntegerCodes> codes = nullptr;
};

// Rows of which nothing but the codes is there: for readers that take those.
Rows rows_of_codes(const SitePoint* grid, std::shared_ptr<const IntegerCodes> codes);
// The same with values. Other rows are given back.
Rows with_values(const Rows& rows);

// Those with these indices [n], int64.
Rows select_rows(const Rows& rows, const at::Tensor& indices);

// The weight of a linear: float, or on the grid of its site.
class Weight {
 public:
  Weight(at::Tensor values) : stored_(std::move(values)) {}  // NOLINT: a tensor is a weight
  // The stored weight of a site that is quantized. The points must outlive it.
  Weight(at::Tensor stored, const SitePoints& points, SiteId site)
      : stored_(std::move(stored)), points_(&points), site_(site) {}

  // [outputs, inputs] float32, as they are multiplied. Quantized when they are first asked for.
  at::Tensor values() const {
    return points_ == nullptr ? stored_ : points_->quantized_weight(site_, stored_);
  }
  // Null: it is float.
  const SitePoint* grid() const { return points_ == nullptr ? nullptr : points_->point(site_); }
  // The site's key; "" where it is float.
  std::string name() const {
    return points_ == nullptr ? "" : points_->sites()[static_cast<size_t>(site_)].key();
  }
  // (codes - zero_point) * scale are the values. It has a grid.
  IntegerCodes codes() const { return grid()->quantizer->codes(stored_); }

  // For those who keep something that is made of the codes: the model's own tensor, and an object
  // that lives until the parameters of the grid change.
  const at::Tensor& stored() const { return stored_; }
  std::weak_ptr<const void> parameters_stamp() const { return points_->weight_stamp(site_); }

 private:
  at::Tensor stored_;
  const SitePoints* points_ = nullptr;
  SiteId site_ = kNoSite;
};

}  // namespace quell
