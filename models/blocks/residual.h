// A branch and the rows that pass it by: all that tells layers with norms behind their sums
// (Vaswani et al. 2017) from those with norms in front of their branches (Xiong et al. 2020).
#pragma once

#include <string>

#include "models/blocks/model_builder.h"

namespace quell {

enum class NormPlace {
  kPost,  // norm(x + branch(x))
  kPre,   // x + branch(norm(x))
};

struct ResidualShape {
  NormPlace place = NormPlace::kPost;
  NormKind norm = NormKind::kLayer;
  double epsilon = 1e-5;
  bool has_sum_site = false;  // the sum is a site of its own
  bool drops_branch = true;   // whether the branch sees dropout
};

// The rows with these indices [n], or all where they are undefined.
inline Rows chosen_rows(const Rows& rows, const at::Tensor& indices) {
  return indices.defined() ? select_rows(rows, indices) : rows;
}

struct Residual {
  NormPlace place = NormPlace::kPost;
  bool drops_branch = true;
  Norm norm;
  Shortcut shortcut;
  SiteId sum_site = kNoSite;

  // To be declared in front of the branch, and behind it. Only a model with norms behind its sums
  // that was trained after a transform has a tensor of the name `shortcut_scale`, "...scale", or
  // one of the name "...shift".
  void declare_front(ModelBuilder& builder, const ResidualShape& shape, const std::string& name,
                     const std::string& module, int64_t features) {
    place = shape.place;
    drops_branch = shape.drops_branch;
    norm.kind = shape.norm;
    norm.epsilon = shape.epsilon;
    if (place == NormPlace::kPre) builder.norm(norm, name + ".norm", module, features);
  }
  void declare_back(ModelBuilder& builder, const ResidualShape& shape, const std::string& name,
                    const std::string& module, const std::string& shortcut_scale,
                    int64_t features) {
    if (shape.has_sum_site) sum_site = builder.activation(name + ".residual", "residual");
    if (place == NormPlace::kPre) return;
    builder.norm(norm, name + ".norm", module, features);
    const std::string stem = shortcut_scale.substr(0, shortcut_scale.rfind('.'));
    builder.tensor(shortcut.scale, {shortcut_scale, {features}, /*optional=*/true});
    builder.tensor(shortcut.shift, {stem + ".shift", {features}, /*optional=*/true});
  }

  // What the branch reads of x.
  Rows front(const Pass& pass, const Rows& x) const {
    return place == NormPlace::kPre ? pass.norm(norm, x) : x;
  }
  GraphWriter::Value write_front(GraphWriter& writer, const GraphWriter::Value& x) const {
    return place == NormPlace::kPre ? writer.norm(norm, x) : x;
  }
  GraphWriter::Value write_back(GraphWriter& writer, const GraphWriter::Value& x,
                                const GraphWriter::Value& branch) const {
    GraphWriter::Value shortcut_rows = x;
    if (shortcut.scale.defined()) {
      shortcut_rows = writer.operation("Mul", {x, writer.tensor(shortcut.scale)});
    }
    GraphWriter::Value sum = writer.operation("Add", {branch, shortcut_rows});
    if (shortcut.shift.defined()) {
      sum = writer.operation("Add", {sum, writer.tensor(shortcut.shift)});
    }
    sum = writer.activation(sum_site, sum);
    return place == NormPlace::kPost ? writer.norm(norm, sum) : sum;
  }
  // What follows from x and the branch's rows, which it may overwrite.
  Rows back(const Pass& pass, const Rows& x, Rows branch) const {
    if (place == NormPlace::kPost && shortcut.is_plain() && pass.joins({sum_site})) {
      return pass.norm_of_sum(norm, branch, x);
    }
    if (drops_branch) branch = pass.dropout(DropoutPlace::kHidden, std::move(branch));
    const Rows sum = pass.activation(sum_site, {shortcut.add(std::move(branch.values), x.values)});
    return place == NormPlace::kPost ? pass.norm(norm, sum) : sum;
  }
};

}  // namespace quell
