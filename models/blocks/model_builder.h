// Declaring the parts of a model: each part gives its tensors a place in the checkpoint and its
// values a site, in the order of execution.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "framework/model/model.h"

namespace quell {

// Where the parts that follow belong.
struct Scope {
  Segment* segment = nullptr;
  std::string stack;   // "encoder" or "decoder"; in a layer sites are called <stack>.<layer>.<name>
  int64_t layer = -1;  // -1 outside of layers
  int64_t layers = 0;  // of the stack: which one is `encoder.last`
  RowsOf rows = RowsOf::kTokens;
};

// The Hugging Face module of a linear, and how its tensors lie in the file's; of a part, `part.of`
// is the module that the file has.
struct StoredLinear {
  StoredLinear(std::string name = {}, StoredPart stored = {})  // NOLINT: a name alone will do
      : module(std::move(name)), part(std::move(stored)) {}
  StoredLinear(const char* name) : module(name) {}  // NOLINT

  std::string module;
  StoredPart part;
};

class ModelBuilder {
 public:
  // `add` puts a site into the model.
  explicit ModelBuilder(std::function<SiteId(Site)> add) : add_(std::move(add)) {}

  void enter(Scope scope) { scope_ = std::move(scope); }
  const Scope& scope() const { return scope_; }

  // `alias` is another name of it, for rules.
  SiteId activation(const std::string& name, const std::string& role,
                    const std::string& alias = "");
  // The same whose rows are others than those of the scope.
  SiteId activation_of(RowsOf rows, const std::string& name, const std::string& role,
                       const std::string& alias = "");
  // Matrices of attention, `role` "scores" or "probs", of so many heads.
  SiteId attention_matrix(const std::string& name, const std::string& role, int64_t heads,
                          RowsOf keys);
  // Places stay where they are as long as the model lives.
  void linear(Linear& linear, const std::string& name, const std::string& role,
              const StoredLinear& stored, int64_t outputs, int64_t inputs, bool has_bias = true,
              const std::string& tied_to = "");
  void table(EmbeddingTable& table, const std::string& name, ExpectedTensor stored);
  // Weight and output.
  void norm(Norm& norm, const std::string& name, const std::string& module, int64_t features);
  // A tensor that is no site.
  void tensor(at::Tensor& place, ExpectedTensor stored);
  // Weight and bias of a module that files may have, but nothing reads: kept for those that are
  // written.
  void unread(Linear& linear, const std::string& module, std::vector<int64_t> weight_shape);

 private:
  SiteId declare(SiteKind kind, RowsOf rows, const std::string& name, const std::string& role,
                 const std::string& alias, int64_t heads = 0, RowsOf columns = RowsOf::kTokens);
  SiteId weight(at::Tensor& place, const std::string& name, const std::string& role,
                ExpectedTensor stored);

  std::function<SiteId(Site)> add_;
  Scope scope_;
};

}  // namespace quell
