// A quantized network as ONNX, with a QuantizeLinear and a DequantizeLinear at each site that
// quantizes: the form that onnxruntime and OpenVINO fuse.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "framework/export/onnx_model.h"
#include "framework/model/graph_writer.h"
#include "framework/quant/site_points.h"

namespace quell {

class OnnxWriter final : public GraphWriter {
 public:
  // Without `has_tensors` only the graph is written, with no values: to see whether there is one.
  OnnxWriter(const SitePoints& points, bool has_tensors)
      : points_(points), has_tensors_(has_tensors) {}

  Value input(const std::string& name) override;
  void output(const std::string& name, const Value& value,
              const std::vector<std::string>& axes) override;
  Value constant(float value) override;
  Value integer(int64_t value) override;
  Value integers(const std::vector<int64_t>& values) override;
  Value tensor(const at::Tensor& values) override;
  Value operation(const std::string& name, const std::vector<Value>& inputs,
                  const std::vector<Attribute>& attributes = {}) override;
  Value embedding(const EmbeddingTable& table, const Value& ids) override;
  Value linear(const Linear& linear, const Value& rows) override;
  Value norm(const Norm& norm, const Value& rows) override;
  Value activation(SiteId site, const Value& rows) override;

  // The file. Throws Error where a site that quantizes had no place in the graph.
  std::string bytes() const;

 private:
  // Scale and zero point of a grid, for both operations.
  struct StoredGrid {
    Value scale, zero_point;
    OnnxType type;
    int64_t bits;  // of that type
  };

  // A constant without a name of its own; equal ones are stored once.
  Value constant_of(OnnxType type, const std::vector<int64_t>& shape, std::string_view bytes);
  // A constant, and an operation, that belong to a site.
  Value named(SiteId site, const char* part, OnnxType type, const std::vector<int64_t>& shape,
              std::string_view bytes);
  std::string label(SiteId site) const;
  Value operation_named(const Value& result, const std::string& name,
                        const std::vector<Value>& inputs, const std::vector<Attribute>& attributes);
  StoredGrid grid(SiteId site, const QuantParameters& parameters, const at::Tensor& scale,
                  const at::Tensor& zero_point, bool may_be_narrow);
  // The weight of a site, transposed on demand: what quantization makes of it, as codes where it
  // quantizes.
  Value weight(SiteId site, const at::Tensor& values, bool transposed);
  // Codes and the grid they are on; `axis` of the scales, -1: there is one.
  struct StoredCodes {
    Value codes;
    StoredGrid grid;
    int64_t axis;
  };
  StoredCodes codes(SiteId site, const at::Tensor& values, bool transposed);
  Value dequantized(const Value& codes, const StoredGrid& grid, int64_t axis);
  const SitePoint* quantizing(SiteId site);
  Value on_grid(SiteId site, const QuantParameters& parameters, const Value& rows);
  Value on_grids_of_features(SiteId site, const QuantParameters& parameters, const Value& rows);

  const SitePoints& points_;
  bool has_tensors_;
  bool needs_narrow_types_ = false;  // 4 bits, and 16: operations of version 21
  int64_t values_ = 0;
  OnnxModel model_;
  SiteSet written_;
  std::map<Value, int64_t> features_;  // of rows, and the last number of constants
  std::map<std::pair<OnnxType, std::string>, Value> constants_;  // by type, shape and bytes
};

}  // namespace quell
