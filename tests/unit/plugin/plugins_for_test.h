// Stand-ins for the interfaces, and a few plug-ins.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "framework/plugin/choice.h"

namespace quell {

struct QuantSpec {
  int bits = 8;
};

class Observer {
 public:
  virtual ~Observer() = default;
  virtual std::string text() const = 0;
};

class Transform {
 public:
  virtual ~Transform() = default;
};

class Solver {
 public:
  virtual ~Solver() = default;
  virtual int64_t epochs() const = 0;
};

namespace plugins_for_test {

class MinMax final : public Observer {
 public:
  MinMax(const NoParams&, const QuantSpec& spec) : bits_(spec.bits) {}
  std::string text() const override { return "minmax " + std::to_string(bits_); }

 private:
  int bits_;
};

class Average final : public Observer {
 public:
  struct Params {
    double momentum = 0.9;
    std::vector<int64_t> bins = {2, 3};

    template <class V>
    static void describe(V& v) {
      v("momentum", &Params::momentum, "weight of the past | in [0, 1)", at_least(0), less_than(1));
      v("bins", &Params::bins, "bins");
    }
  };
  Average(const Params& params, const QuantSpec&) : params_(params) {}
  std::string text() const override { return "average " + std::to_string(params_.momentum); }

 private:
  Params params_;
};

// Has another observer inside.
class Nested final : public Observer {
 public:
  struct Params {
    ObserverChoice inner{"average"};
    std::string file;

    template <class V>
    static void describe(V& v) {
      v("inner", &Params::inner, "the observer inside");
      v("file", &Params::file, "where the ranges are", required());
    }
  };
  Nested(const Params& params, const QuantSpec& spec) : inner_(params.inner.create(spec)) {}
  std::string text() const override { return "nested " + inner_->text(); }

 private:
  std::unique_ptr<Observer> inner_;
};

class Migrate final : public Transform {
 public:
  explicit Migrate(const NoParams&) {}
};

class Learn final : public Solver {
 public:
  struct Params {
    int64_t epochs = 3;

    template <class V>
    static void describe(V& v) {
      v("epochs", &Params::epochs, "passes over the data", at_least(1));
    }
  };
  explicit Learn(const Params& params) : params_(params) {}
  int64_t epochs() const override { return params_.epochs; }

 private:
  Params params_;
};

}  // namespace plugins_for_test

inline void register_test_plugins(Plugins& plugins) {
  using namespace plugins_for_test;
  add_plugin<MinMax, NoParams>(plugins.observers, "minmax", "The range of the data.", "folklore");
  add_plugin<Average, Average::Params>(plugins.observers, "average", "A running average.",
                                       "paper, equation 7")
      .breaks("order_free", "what came last weighs more");
  add_plugin<Nested, Nested::Params>(plugins.observers, "nested", "Wraps another one.", "none");
  add_plugin<Migrate, NoParams>(plugins.transforms, "migrate", "Moves gamma.", "paper");
  add_plugin<Learn, Learn::Params>(plugins.solvers, "learn", "Learns scales.", "paper");
}

}  // namespace quell
