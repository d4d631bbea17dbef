// What transforms may rewrite: parts of a model whose weights can be traded against each other
// without changing what the model computes.
#pragma once

#include <functional>
#include <vector>

#include "framework/model/operands.h"

namespace quell {

class Pass;
struct ModelInput;
struct Rows;
struct State;

// Runs what reads a group's rows, up to where it joins the residual stream again: what a search may
// compare. `rows` are those of the group's site, `state` that of its segment.
using LocalOutput =
    std::function<Rows(const Rows& rows, const State& state, const ModelInput&, const Pass&)>;

// Rows that some linears read, by the features of their weights, and what makes them: a factor or a
// shift that is taken from the producers is undone by the readers and the shortcuts. A model whose
// readers share a tensor with something else (tied weights) gives them a copy beforehand.
struct ScaleGroup {
  SiteId site = kNoSite;  // of the rows
  Norm* norm = nullptr;   // that makes the rows; null: linears do
  // Whose outputs are the rows but for what passes positive factors on: an average, a product,
  // ReLU.
  std::vector<Linear*> producers = {};
  std::vector<Linear*> readers = {};
  std::vector<Shortcut*> shortcuts = {};
  LocalOutput local = {};  // empty where the group has none
  // The same only up to where the readers' outputs meet: the context of attention, the product of a
  // gate. Empty where they do not meet.
  LocalOutput combined = {};
  // Outlier Suppression leaves this one as it is: the last norm of an encoder.
  bool outlier_suppression_skips = false;
  // The gamma of its norm was moved elsewhere: it has none any more to be trained.
  bool gamma_moved = false;
};

struct Graph {
  std::vector<ScaleGroup> groups;  // in the order of execution
};

}  // namespace quell
