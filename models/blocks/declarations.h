// Declaring the sites of a model: in the order of execution, each with its names in the published
// codes.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "framework/quant/site.h"
#include "models/blocks/layers.h"

namespace quell {

// What the two papers' codes call a quantizer; empty where they have none.
struct PublishedNames {
  std::string outlier_suppression;
  std::string qualcomm;
};

class Declarations {
 public:
  // `tensors` are those of the model by their Hugging Face names, and `add` puts a site into it.
  // `stack` is "encoder" or "decoder", and `layers` says which layer is `encoder.last`.
  Declarations(const std::map<std::string, at::Tensor>& tensors, std::function<SiteId(Site)> add,
               int64_t layers, std::string stack = "encoder")
      : tensors_(tensors), add_(std::move(add)), layers_(layers), stack_(std::move(stack)) {}

  // `layer` is -1 outside of layers; inside, the site is called <stack>.<layer>.<name>. `alias` is
  // another name of it, for rules.
  SiteId activation(const std::string& name, const std::string& role, int64_t layer,
                    const PublishedNames& published, const std::string& alias = "");
  // Matrices of attention, `role` "scores" or "probs", of so many heads.
  SiteId attention_matrix(const std::string& name, const std::string& role, int64_t layer,
                          int64_t heads, const PublishedNames& published);
  // Both codes name a weight quantizer after the module of its tensor; Qualcomm's may be another.
  SiteId weight(const std::string& name, const std::string& role, int64_t layer,
                const std::string& tensor_name, const std::string& qualcomm_module = "");
  SiteId weight(const std::string& name, const std::string& role, int64_t layer,
                const std::string& tensor_name, const PublishedNames& published);
  Linear linear(const std::string& name, const std::string& role, int64_t layer,
                const std::string& module, const std::string& qualcomm_module = "");
  // Weight and output of a norm.
  Norm norm(const std::string& name, int64_t layer, const std::string& module, double epsilon);

  // The tensor of that name; undefined when the model has none.
  at::Tensor tensor(const std::string& name) const;
  // What was declared as a weight.
  const std::map<SiteId, at::Tensor>& weights() const { return weights_; }

 private:
  SiteId declare(SiteKind kind, const std::string& name, const std::string& role, int64_t layer,
                 const PublishedNames& published, const std::string& alias, int64_t heads = 0);

  const std::map<std::string, at::Tensor>& tensors_;
  std::function<SiteId(Site)> add_;
  int64_t layers_;
  std::string stack_;
  std::map<SiteId, at::Tensor> weights_;
};

// The shapes of a module's weight and bias, for Checkpoint::load().
struct ExpectedTensor;
void expect_linear(const std::string& module, int64_t outputs, int64_t inputs,
                   std::vector<ExpectedTensor>& expected);
void expect_norm(const std::string& module, int64_t features,
                 std::vector<ExpectedTensor>& expected);

}  // namespace quell
