// What transforms of a group's rows share: which groups, and moving a shift and a factor of each
// feature out of what makes the rows, into what reads them.
#pragma once

#include <ATen/core/Tensor.h>
#include <string>
#include <vector>

#include "framework/model/pipeline.h"

namespace quell {

// float32 [features] each; undefined: none.
struct ChannelChange {
  at::Tensor shift, scale;
};

// Makes (x - shift) / scale of the rows x of the group's site: its norm or producers give them so,
// readers and shortcuts undo it. Readers' biases take W * shift of the weight W before the scale.
// A norm or reader without a bias gets one where there is a shift, which only a norm can take.
// Parameters found for the old values are forgotten. Outlier Suppression+, section 4.3; gamma
// migration is the same with a scale of gamma.
void absorb(ScaleGroup& group, const ChannelChange& change, SitePoints& points);

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

// The groups whose site one of the patterns names, or the usual ones where there is no pattern, in
// the order of execution. Throws ConfigError where a pattern names no group, or there is none.
std::vector<ScaleGroup*> chosen_groups(Model& model, const std::vector<std::string>& patterns,
                                       UsualGroups usual, const std::string& step);

// Smallest and largest value of each feature, float32 [features], of `rows` [n, features].
Range feature_extremes(const at::Tensor& rows);

}  // namespace quell
