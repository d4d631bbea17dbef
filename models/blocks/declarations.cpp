#include "models/blocks/declarations.h"

#include <fmt/format.h>

#include "framework/base/error.h"
#include "framework/io/checkpoint.h"

namespace quell {

SiteId Declarations::declare(SiteKind kind, const std::string& name, const std::string& role,
                             int64_t layer, const PublishedNames& published,
                             const std::string& alias, int64_t heads) {
  Site site;
  site.kind = kind;
  site.role = role;
  site.layer = layer;
  site.heads = heads;
  site.name = layer < 0 ? name : fmt::format("{}.{}.{}", stack_, layer, name);
  site.alias = layer == layers_ - 1 ? stack_ + ".last." + name : alias;
  if (!published.outlier_suppression.empty()) {
    site.published_names.emplace_back("outlier_suppression", published.outlier_suppression);
  }
  if (!published.qualcomm.empty()) {
    site.published_names.emplace_back("qualcomm", published.qualcomm);
  }
  return add_(std::move(site));
}

SiteId Declarations::activation(const std::string& name, const std::string& role, int64_t layer,
                                const PublishedNames& published, const std::string& alias) {
  return declare(SiteKind::kActivation, name, role, layer, published, alias);
}

SiteId Declarations::attention_matrix(const std::string& name, const std::string& role,
                                      int64_t layer, int64_t heads,
                                      const PublishedNames& published) {
  return declare(SiteKind::kActivation, name, role, layer, published, "", heads);
}

SiteId Declarations::weight(const std::string& name, const std::string& role, int64_t layer,
                            const std::string& tensor_name, const std::string& qualcomm_module) {
  const std::string module = tensor_name.substr(0, tensor_name.rfind('.'));
  PublishedNames published{
      module + ".weight_fake_quant",
      (qualcomm_module.empty() ? module : qualcomm_module) + ".weight_quantizer"};
  if (role == "norm") published.outlier_suppression.clear();
  return weight(name, role, layer, tensor_name, published);
}

SiteId Declarations::weight(const std::string& name, const std::string& role, int64_t layer,
                            const std::string& tensor_name, const PublishedNames& published) {
  const SiteId id = declare(SiteKind::kWeight, name, role, layer, published, "");
  weights_[id] = tensor(tensor_name);
  return id;
}

Linear Declarations::linear(const std::string& name, const std::string& role, int64_t layer,
                            const std::string& module, const std::string& qualcomm_module) {
  return {tensor(module + ".weight"), tensor(module + ".bias"),
          weight(name, role, layer, module + ".weight", qualcomm_module)};
}

Norm Declarations::norm(const std::string& name, int64_t layer, const std::string& module,
                        double epsilon) {
  Norm result{tensor(module + ".weight"), tensor(module + ".bias"), epsilon};
  result.weight_site = weight(name, "norm", layer, module + ".weight");
  result.output_site =
      activation(name, "norm", layer,
                 {module + ".layernorm_post_act_fake_quantize", module + ".activation_quantizer"});
  return result;
}

at::Tensor Declarations::tensor(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? at::Tensor() : found->second;
}

void expect_linear(const std::string& module, int64_t outputs, int64_t inputs,
                   std::vector<ExpectedTensor>& expected) {
  expected.push_back({module + ".weight", {outputs, inputs}});
  expected.push_back({module + ".bias", {outputs}});
}

void expect_norm(const std::string& module, int64_t features,
                 std::vector<ExpectedTensor>& expected) {
  expected.push_back({module + ".weight", {features}});
  expected.push_back({module + ".bias", {features}});
}

}  // namespace quell
