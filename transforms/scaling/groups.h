// What transforms of a group's rows share: which groups, and what moving a shift and a factor of
// each feature out of what makes the rows, into what reads them, asks of a model (Rewrites does
// it).
#pragma once

#include <ATen/core/Tensor.h>
#include <string>
#include <vector>

#include "framework/model/pipeline.h"

namespace quell {

// Whether the group's norm and all of its readers have a bias.
bool has_biases(const ScaleGroup& group);
// The same of a model whose tensors are not there yet.
bool will_have_biases(const ScaleGroup& group, const Model& model);

// Transform::additions() of one that scales these groups, and shifts some of them.
struct GroupChange {
  const ScaleGroup* group;
  bool shifts = false;
};
std::vector<std::string> additions_to(const std::vector<GroupChange>& changes, const Model& model);

const std::string& name_of(const ScaleGroup& group, const Model& model);

// Which groups a step rewrites by default: those of norms in front of linears of layers, and, if
// asked for, the products of gates.
enum class UsualGroups { kNorms, kNormsAndProducts };

// Whether each of the groups has all of its readers in the segment of its site.
bool are_local(const std::vector<ScaleGroup*>& groups, const Model& model);

// The groups whose site one of the patterns names, or the usual ones where there is no pattern, in
// the order of execution. Throws ConfigError where a pattern names no group, or there is none.
std::vector<ScaleGroup*> chosen_groups(Model& model, const std::vector<std::string>& patterns,
                                       UsualGroups usual, const std::string& step);

// Smallest and largest value of each feature, float32 [features], of `rows` [n, features].
Range feature_extremes(const at::Tensor& rows);

}  // namespace quell
